using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Rewards.Training;

/// <summary>
/// What a reward model sees of an image and its prompt. Of the image: the mean and the deviation over its patches of the states at four
/// depths of CLIP's image tower,
/// from the embedded pixels (edges, noise, colours) to the last layer (objects), and the pooled state. Of both, with prompts: the product
/// of their embeddings, number
/// by number, and its sum, their cosine. As a graph from pixel_values (and input_ids), which a head may be put behind.
/// </summary>
internal sealed class ClipFeatures
{
    private const int Batch = 16, Depths = 4;
    private static readonly string[] TokenizerFiles = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json"];
    private readonly ComponentFolder _folder;
    private readonly ClipConfig _config;
    private readonly ImagePreprocessor _preprocessor;
    private readonly ClipTokenizer? _tokenizer;

    /// <summary>Opens a CLIPModel's folder.</summary>
    /// <param name="folder">The folder, as transformers' save_pretrained writes it.</param>
    /// <param name="withText">Whether prompts take part.</param>
    /// <exception cref="UserError">A file is missing or not valid, or the model is not a CLIPModel.</exception>
    public ClipFeatures(string folder, bool withText)
    {
        _folder = ComponentFolder.Open(folder, $"CLIP '{folder}'");
        _folder.Expect("CLIPModel");
        _config = ClipConfig.Parse(_folder.Config);
        var side = (int)_config.Vision.ImageSize;
        _preprocessor = new(ImageProcessorConfig.Find(folder)
            ?? new ImageProcessorConfig { ShortestEdge = side, CropHeight = side, CropWidth = side });
        if (withText) _tokenizer = ClipTokenizer.Open(TokenizerFolder);
    }

    private string TokenizerFolder =>
        Directory.Exists(Path.Combine(_folder.Path, "tokenizer")) ? Path.Combine(_folder.Path, "tokenizer") : _folder.Path;

    /// <summary>Sizes of the blocks that the features consist of: those of the image; with prompts the products, and the cosine.</summary>
    public IReadOnlyList<int> Blocks => [(int)(_config.Vision.HiddenSize * ((2 * States.Length) + 1)), .. _tokenizer is null
        ? Array.Empty<int>() : [(int)_config.ProjectionDim, 1]];

    /// <summary>Adapters of the image tower by module path, the factor alpha/r in B, merged into its weights; none at first.</summary>
    public IReadOnlyDictionary<string, (Tensor A, Tensor B)> Adapters { get; set; } = new Dictionary<string, (Tensor, Tensor)>();

    private int[] States =>
        [.. Enumerable.Range(0, Depths).Select(i => (int)Math.Round(i * _config.Vision.NumHiddenLayers / (Depths - 1.0))).Distinct()];

    /// <summary>The features of images and prompts, in order.</summary>
    /// <param name="inputs">Images and prompts.</param>
    /// <param name="settings">Device and threads.</param>
    /// <param name="progress">Told the number of images done.</param>
    /// <param name="cancellation">Stops between batches.</param>
    public float[][] Of(IReadOnlyList<RewardInput> inputs, SessionSettings settings, Action<int>? progress = null,
        CancellationToken cancellation = default)
    {
        using var session = new GraphSession(Graph("batch").Graph, settings);
        var result = new List<float[]>(inputs.Count);
        foreach (var part in inputs.Chunk(Batch))
        {
            cancellation.ThrowIfCancellationRequested();
            var values = Run(session, part)["features"];
            var width = values.Length / part.Length;
            result.AddRange(values.Chunk(width));
            progress?.Invoke(result.Count);
        }
        return [.. result];
    }

    /// <summary>
    /// Writes a reward that <c>onnx:FOLDER</c> takes: model.onnx with the score, and beside it what prepares images and prompts.
    /// </summary>
    /// <param name="target">The folder, which is there.</param>
    /// <param name="head">What scores the features.</param>
    /// <exception cref="UserError">The place cannot be written.</exception>
    public void Write(string target, RewardHead head)
    {
        var (graph, features) = Graph("batch");
        graph.Outputs.Clear();
        graph.Output(head.Score(features), "score");
        OnnxFile.Write(graph, Path.Combine(target, "model.onnx"));
        var side = _config.Vision.ImageSize;
        Copy(_folder.Path, "preprocessor_config.json", $$"""{"size":{{side}},"crop_size":{{side}} }""");
        if (_tokenizer is not null) foreach (var name in TokenizerFiles) Copy(TokenizerFolder, name, null);

        void Copy(string from, string name, string? otherwise)
        {
            var (source, to) = (Path.Combine(from, name), Path.Combine(target, name));
            if (File.Exists(source)) AtomicFile.Write(to, DiskFault.Guard(source, () => File.ReadAllBytes(source)));
            else if (otherwise is not null) AtomicFile.Write(to, otherwise);
        }
    }

    /// <summary>The features as a graph, with <see cref="Adapters"/>.</summary>
    /// <param name="batch">Images; a number for training.</param>
    public (OnnxGraph Graph, Value Features) Graph(Dim batch)
    {
        var (graph, vision) = (new OnnxGraph("reward"), _config.Vision);
        var m = new Module(graph, _folder.Weights());
        var image = ClipModel.Encode(m, _config,
            graph.Input("pixel_values", ElementType.Float, batch, vision.NumChannels, vision.ImageSize, vision.ImageSize));
        List<Value> parts = [.. States.SelectMany(depth => Spread(image.HiddenStates[depth].Slice(1, 1, vision.Patches + 1))),
            image.PoolerOutput];
        if (_tokenizer is not null)
        {
            var ids = graph.Input("input_ids", ElementType.Int64, batch, _tokenizer.MaxLength);
            var text = ClipTextModel.Project(m, _config.Text, ClipTextModel.Forward(m, _config.Text, ids));
            var products = Unit(image.Features) * Unit(text);
            parts.AddRange([products, Sum(products, [1], keepDims: true)]);
        }
        var features = Layout.Concat(1, [.. parts]);
        graph.Output(features, "features");
        if (Adapters.Count > 0) MergeLora.Apply(graph, Adapters);
        return (graph, features);

        static Value[] Spread(Value patches)
        {
            var mean = Mean(patches, [1], keepDims: true);
            return [mean.Squeeze(1), Sqrt(Mean(Square(patches - mean), [1]) + 1e-6)];
        }

        static Value Unit(Value x) => x / Sqrt(Sum(Square(x), [-1], keepDims: true));
    }

    /// <summary>Runs a session whose graph takes what <see cref="Graph"/> does.</summary>
    /// <param name="session">The session.</param>
    /// <param name="part">Its images and prompts.</param>
    /// <param name="others">What else it takes.</param>
    public Dictionary<string, float[]> Run(GraphSession session, RewardInput[] part,
        params ReadOnlySpan<(string Name, OrtValue Value)> others)
    {
        var side = (int)_config.Vision.ImageSize;
        var length = 3 * side * side;
        var pixels = new float[part.Length * length];
        foreach (var input in part)
            if (_preprocessor.SizeFor(input.Image.Width, input.Image.Height) != (side, side))
                throw new UserError($"CLIP '{_folder.Path}': preprocessing an image of {input.Image.Width}x{input.Image.Height} does not "
                    + $"give {side}x{side}; switch do_center_crop on in preprocessor_config.json");
        Parallel.For(0, part.Length, i => _preprocessor.Process(part[i].Image, pixels.AsSpan(i * length, length)));
        using var images = pixels.ToOrt(part.Length, 3, side, side);
        if (_tokenizer is null) return session.Run([("pixel_values", images), .. others]);
        using var ids = part.SelectMany(input => _tokenizer.Encode(input.Prompt)).ToArray().ToOrt(part.Length, _tokenizer.MaxLength);
        return session.Run([("pixel_values", images), ("input_ids", ids), .. others]);
    }
}
