using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Models;

namespace OrtRlhf.Rewards;

/// <summary>What a scoring model takes, and how it is made from images and prompts.</summary>
internal sealed class OnnxRewardInputs
{
    private readonly RewardArgument _argument;
    private readonly string _image;
    private readonly bool _half;
    private readonly int _height, _width; // -1 where the model leaves them open
    private readonly ImagePreprocessor? _preprocessor;
    private readonly string? _ids, _mask;
    private readonly int _length;
    private readonly ClipTokenizer? _tokenizer;

    private OnnxRewardInputs(InferenceSession session, string folder, RewardArgument argument)
    {
        _argument = argument;
        var inputs = session.InputMetadata;
        string[] images = [.. inputs.Where(i => i.Value.Dimensions.Length == 4).Select(i => i.Key)];
        if (images is not [var image]) throw argument.Fault(
            $"expected one input of images [B,3,H,W], got {images.Length} of rank 4 among {Listed(inputs)}");
        (_image, _half) = (image, inputs[image].ElementDataType == TensorElementType.Float16);
        if (!_half && inputs[image].ElementDataType != TensorElementType.Float) throw argument.Fault(
            $"the input {image}: expected float or half numbers, got {inputs[image].ElementDataType}");
        var dims = inputs[image].Dimensions;
        if (dims[1] is not (3 or -1)) throw argument.Fault(
            $"the input {image} is [{string.Join(",", dims)}]: expected 3 channels on the second axis, [B,3,H,W]");
        (FixedBatch, _height, _width) = (dims[0] > 0 ? dims[0] : null, dims[2], dims[3]);
        if (ImageProcessorConfig.Find(folder) is { } config) _preprocessor = new(config);
        else if (_height > 0 && _width > 0) _preprocessor = new(ImageProcessorConfig.Plain(_height, _width));

        (_ids, _mask) = (inputs.ContainsKey("input_ids") ? "input_ids" : null, inputs.ContainsKey("attention_mask") ? "attention_mask"
            : null);
        if (inputs.Keys.FirstOrDefault(name => name != _image && name != _ids && name != _mask) is { } other)
            throw argument.Fault(
                $"the input {other}: expected images, input_ids and attention_mask alone, got {Listed(inputs)}; export a model without it");
        foreach (var name in new[] { _ids, _mask }.OfType<string>())
        {
            if (inputs[name].ElementDataType != TensorElementType.Int64 || inputs[name].Dimensions.Length != 2)
                throw argument.Fault($"the input {name}: expected int64 [B,S], got {Listed(inputs)}");
        }
        if (_ids is null && _mask is not null) throw argument.Fault("the input attention_mask: expected input_ids beside it");
        if (_ids is null) return;
        var beside = Path.Combine(folder, "tokenizer");
        if (!Directory.Exists(beside)) beside = folder;
        if (!File.Exists(Path.Combine(beside, "vocab.json"))) throw argument.Fault($"the model takes input_ids, but there is no "
            + $"tokenizer in '{folder}': put CLIP's vocab.json, merges.txt and tokenizer_config.json beside the model");
        _tokenizer = ClipTokenizer.Open(beside);
        var length = inputs[_ids].Dimensions[1];
        _length = length > 0 ? length : _tokenizer.MaxLength;
        if (_length < _tokenizer.MaxLength) throw argument.Fault($"input_ids takes {_length} tokens, but the tokenizer's "
            + $"model_max_length is {_tokenizer.MaxLength}; they do not belong together");
    }

    /// <summary>Images that the model takes at a time; null for any number.</summary>
    public int? FixedBatch { get; }

    /// <summary>Whether the model takes the prompt.</summary>
    public bool TakesText => _ids is not null;

    /// <summary>Reads what a model takes.</summary>
    /// <exception cref="Graph.UserError">Something that a scorer of images and prompts does not take (names it).</exception>
    public static OnnxRewardInputs Of(InferenceSession session, string folder, RewardArgument argument) => new(session, folder, argument);

    /// <summary>The inputs for some images.</summary>
    public (string Name, OrtValue Value)[] Make(RewardInput[] part)
    {
        var first = part[0].Image;
        var preprocessor = _preprocessor
            ?? new ImagePreprocessor(ImageProcessorConfig.Plain(first.Height, first.Width) with { DoResize = false });
        var (height, width) = preprocessor.SizeFor(first.Width, first.Height);
        if ((_height > 0 && height != _height) || (_width > 0 && width != _width))
            throw _argument.Fault($"the input {_image} takes {_width}x{_height}, but preprocessor_config.json makes {width}x{height}; "
                + $"they do not belong together");
        if (part.FirstOrDefault(input => preprocessor.SizeFor(input.Image.Width, input.Image.Height) != (height, width)) is { } odd)
            throw _argument.Fault($"sample {odd.Index} has another size than the first, {odd.Image.Width}x{odd.Image.Height}: write "
                + $"#batch=1, or a preprocessor_config.json beside the model that crops");
        var length = 3 * height * width;
        var pixels = new float[part.Length * length];
        Parallel.For(0, part.Length, i => preprocessor.Process(part[i].Image, pixels.AsSpan(i * length, length)));
        long[] shape = [part.Length, 3, height, width];
        var values = new List<(string, OrtValue)>
        {
            (_image, _half ? OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(pixels, x => (Float16)x), shape) : pixels.ToOrt(shape)),
        };
        if (_tokenizer is null) return [.. values];
        var texts = Array.ConvertAll(part, input => _tokenizer.EncodeUnpadded(input.Prompt));
        values.Add((_ids!, Rows(texts, ids => i => i < ids.Count ? ids[i] : _tokenizer.PadId)));
        if (_mask is not null) values.Add((_mask, Rows(texts, ids => i => i < ids.Count ? 1 : 0)));
        return [.. values];
    }

    private OrtValue Rows(List<long>[] texts, Func<List<long>, Func<int, long>> row) =>
        texts.SelectMany(ids => Enumerable.Range(0, _length).Select(row(ids))).ToArray().ToOrt(texts.Length, _length);

    private static string Listed(IReadOnlyDictionary<string, NodeMetadata> inputs) =>
        string.Join(", ", inputs.Select(i => $"{i.Key} {(i.Value.IsTensor ? i.Value.ElementDataType : i.Value.OnnxValueType)} "
            + $"[{(i.Value.IsTensor ? string.Join(",", i.Value.Dimensions) : "")}]"));
}
