using System.Runtime.CompilerServices;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Rewards;

/// <summary>
/// Embeddings of images and texts by a CLIPModel, of length 1: a folder with config.json, safetensors, preprocessor_config.json and the
/// tokenizer's files, as
/// transformers' save_pretrained writes it. One object serves all rewards of a folder, remembers images and prompts, and goes with the last
/// of them.
/// </summary>
internal sealed class ClipEmbedder : IDisposable
{
    private const int Batch = 16;
    private static readonly Dictionary<(string Folder, string Device), ClipEmbedder> Known = [];
    private readonly Lock _gate = new();
    private readonly (string Folder, string Device) _key;
    private readonly ComponentFolder _folder;
    private readonly ClipConfig _config;
    private readonly ImagePreprocessor _preprocessor;
    private readonly SessionSettings _settings;
    private readonly GraphSession _vision;
    private readonly Lazy<(ClipTokenizer Tokenizer, GraphSession Session)> _text;
    private readonly ConditionalWeakTable<RgbImage, float[]> _images = [];
    private readonly Dictionary<string, float[]> _texts = new(StringComparer.Ordinal);
    private int _users;

    private ClipEmbedder(string folder, string device, (string, string) key)
    {
        _key = key;
        _folder = ComponentFolder.Open(folder, $"CLIP '{folder}'");
        _folder.Expect("CLIPModel");
        _config = ClipConfig.Parse(_folder.Config);
        var side = (int)_config.Vision.ImageSize;
        _preprocessor = new(ImageProcessorConfig.Find(folder)
            ?? new ImageProcessorConfig { ShortestEdge = side, CropHeight = side, CropWidth = side });
        if (_preprocessor.Config is { DoCenterCrop: true } p && (p.CropHeight != side || p.CropWidth != side))
            throw new UserError($"CLIP '{folder}': preprocessor_config.json crops to {p.CropWidth}x{p.CropHeight}, but config.json has "
                + $"the image_size {side}; they do not belong together");
        _settings = new SessionSettings { Device = device };
        _vision = Session(ClipModel.BuildVision(_config, _folder.Weights()), "image_embeds");
        _text = new(LoadText);
    }

    /// <summary>Width of the embeddings.</summary>
    public int Width => (int)_config.ProjectionDim;

    /// <summary>The embedder of a folder, to be disposed as often as it was opened.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="device">Execution provider.</param>
    /// <exception cref="UserError">A file is missing or not valid, or the model is not a CLIPModel.</exception>
    public static ClipEmbedder Open(string folder, string device)
    {
        var key = (Path.GetFullPath(folder), device);
        lock (Known)
        {
            if (!Known.TryGetValue(key, out var known)) Known[key] = known = new(folder, device, key);
            known._users++;
            return known;
        }
    }

    /// <summary>e to the learned scale of the logits.</summary>
    /// <exception cref="UserError">The checkpoint has none.</exception>
    public double Scale() => _folder.Tensors().Tensors.TryGetValue("logit_scale", out var scale) && scale.Count == 1
        ? Math.Exp(scale.ToFloats()[0])
        : throw new UserError(
            $"CLIP '{_folder.Path}': expected a number logit_scale among the weights, got none; it is not a preference model");

    /// <summary>Embeddings [P] of the images, in order.</summary>
    public float[][] Images(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation)
    {
        lock (_gate)
        {
            foreach (var part in inputs.Select(input => input.Image).Where(image => !_images.TryGetValue(image, out _)).Distinct()
                .Chunk(Batch)) Embed(part, cancellation);
            return [.. inputs.Select(input =>
                _images.TryGetValue(input.Image, out var known) ? known : throw new InvalidOperationException())];
        }
    }

    /// <summary>
    /// The embedding [P] of a text. Each is encoded alone: in a batch it would round differently with the texts beside it.
    /// </summary>
    public float[] Text(string prompt)
    {
        lock (_gate)
        {
            if (_texts.TryGetValue(prompt, out var known)) return known;
            var (tokenizer, session) = _text.Value;
            var ids = tokenizer.Encode(prompt);
            using var input = ids.ToOrt(1, ids.Length);
            return _texts[prompt] = Unit(session.Run(("input_ids", input))["text_embeds"]);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (Known)
        {
            if (--_users > 0) return;
            Known.Remove(_key);
        }
        _vision.Dispose();
        if (_text.IsValueCreated) _text.Value.Session.Dispose();
    }

    private void Embed(RgbImage[] images, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var (side, channels) = ((int)_config.Vision.ImageSize, 3);
        var length = channels * side * side;
        var pixels = new float[images.Length * length];
        foreach (var image in images)
            if (_preprocessor.SizeFor(image.Width, image.Height) is var size && size != (side, side))
                throw new UserError($"CLIP '{_folder.Path}': preprocessing an image of {image.Width}x{image.Height} gives "
                    + $"{size.Width}x{size.Height}, expected {side}x{side}; switch do_center_crop on in preprocessor_config.json");
        Parallel.For(0, images.Length, i => _preprocessor.Process(images[i], pixels.AsSpan(i * length, length)));
        using var input = pixels.ToOrt(images.Length, channels, side, side);
        var embeddings = _vision.Run(("pixel_values", input))["image_embeds"];
        for (var i = 0; i < images.Length; i++) _images.AddOrUpdate(images[i], embeddings.AsSpan(i * Width, Width).ToArray());
    }

    private (ClipTokenizer, GraphSession) LoadText()
    {
        var beside = Path.Combine(_folder.Path, "tokenizer");
        var tokenizer = ClipTokenizer.Open(Directory.Exists(beside) ? beside : _folder.Path);
        if (tokenizer.MaxLength > _config.Text.MaxPositionEmbeddings)
            throw new UserError($"CLIP '{_folder.Path}': max_position_embeddings is {_config.Text.MaxPositionEmbeddings}, but the "
                + $"tokenizer's model_max_length is {tokenizer.MaxLength}; they do not belong together");
        if (Math.Max(tokenizer.EndId, tokenizer.PadId) >= _config.Text.VocabSize)
            throw new UserError($"CLIP '{_folder.Path}': vocab_size is {_config.Text.VocabSize}, but the tokenizer's end and padding ids "
                + $"are {tokenizer.EndId} and {tokenizer.PadId}; they do not belong together");
        return (tokenizer, Session(ClipTextModel.Build(_config.Text, _folder.Weights(), projection: true, sequence: tokenizer.MaxLength),
            "text_embeds"));
    }

    private GraphSession Session(OnnxGraph graph, string output)
    {
        graph.Outputs.RemoveAll(value => value.Name != output);
        graph.RemoveUnused();
        return new GraphSession(graph, _settings);
    }

    private static float[] Unit(float[] x)
    {
        var length = Math.Sqrt(x.Sum(v => (double)v * v));
        return Array.ConvertAll(x, v => (float)(v / length));
    }
}
