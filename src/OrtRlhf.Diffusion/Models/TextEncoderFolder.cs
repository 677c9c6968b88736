using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Models;

/// <summary>
/// A text encoder of a pipeline folder with its tokenizer. Stable Diffusion 1 and 2 take the states behind the final normalisation; XL
/// those of the last layer but
/// one, of two encoders, and the second one's projected text; 3 the same states and both projections, and T5's states behind them; FLUX the
/// first one's pooled
/// text and T5's states.
/// </summary>
/// <param name="Encoder">The encoder.</param>
/// <param name="Length">Tokens of a text.</param>
/// <param name="Width">Numbers of a state; null where only the exported graph knows.</param>
/// <param name="PooledWidth">Numbers of the pooled text; null where there is none, or only the exported graph knows.</param>
internal sealed record TextEncoderFolder(TextEncoder Encoder, int Length, long? Width, long? PooledWidth)
{
    private const string First = "text_encoder", Second = "text_encoder_2", Third = "text_encoder_3", LastState = "last_hidden_state";

    /// <summary>Tokens of T5's text, as the pipelines of Stable Diffusion 3 and FLUX have them.</summary>
    public const int SD3Length = 256, FluxLength = 512;

    /// <summary>
    /// What a denoiser takes of a CLIP: states of the last layer (or the last but one), its projected text, or its pooled text alone.
    /// </summary>
    private readonly record struct ClipUse(bool Penultimate, bool Projection, bool PooledAlone = false);

    /// <summary>Opens the text encoders of a pipeline, none for a model without text.</summary>
    /// <param name="index">The pipeline.</param>
    /// <param name="denoiser">Class of its denoiser, which says what it takes.</param>
    /// <param name="options">Layers to leave out, tokens of T5.</param>
    /// <exception cref="UserError">One is missing, damaged, of another class, or does not fit its tokenizer.</exception>
    public static IReadOnlyList<TextEncoderFolder> OpenAll(ModelIndex index, string denoiser, ModelOptions options)
    {
        switch (denoiser)
        {
            case UNet2DConfig.ClassName:
                return options.ClipSkip == 0 ? [] : throw new UserError("`ClipSkip`: the model has no text encoder; leave it out");
            case SD3Transformer2DConfig.ClassName:
                var both = new ClipUse(Penultimate: true, Projection: true);
                TextEncoderFolder[] clips = [Clip(index, First, "tokenizer", both, options),
                    Clip(index, Second, "tokenizer_2", both, options)];
                return [.. clips, index.Has(Third) ? T5(index, Third, "tokenizer_3", options.MaxSequenceLength ?? SD3Length)
                    : Zeros(index, clips[0].Length)];
            case FluxTransformer2DConfig.ClassName:
                return [Clip(index, First, "tokenizer", new(Penultimate: false, Projection: false, PooledAlone: true), options),
                    T5(index, Second, "tokenizer_2", options.MaxSequenceLength ?? FluxLength)];
            default:
                if (!index.Has(Second)) return [Clip(index, First, "tokenizer", new(Penultimate: false, Projection: false), options)];
                if (!index.Has(First))
                    throw new UserError($"model '{index.Folder}': has {Second} but no {First}, as the refiner of Stable Diffusion XL, "
                        + $"which goes on with images of the base model; give the base model");
                return [Clip(index, First, "tokenizer", new(Penultimate: true, Projection: false), options),
                    Clip(index, Second, "tokenizer_2", new(Penultimate: true, Projection: true), options)];
        }
    }

    /// <summary>Tokens of the text that the denoiser attends to.</summary>
    public static int Tokens(IReadOnlyList<TextEncoderFolder> text)
    {
        TextEncoderFolder[] states = [.. text.Where(t => t.Encoder.States is not null)];
        return states.Length == 0 ? 0 : states[0].Length + states.Skip(1).Where(t => t.Encoder.IsBehind).Sum(t => t.Length);
    }

    /// <summary>Demands that a transformer's text states and pooled text are as wide as it takes them.</summary>
    /// <exception cref="UserError">They are not.</exception>
    public static void RequireFit(IReadOnlyList<TextEncoderFolder> text, string denoiser, long width, long pooled)
    {
        TextEncoderFolder[] beside = [.. text.Where(t => t.Encoder is { States: not null, IsBehind: false })];
        if (beside.All(t => t.Width is not null) && beside.Sum(t => t.Width) > width)
            throw new UserError($"{denoiser}: expects text states of width {width}, but "
                + $"{string.Join(" and ", beside.Select(t => t.Encoder.Name))} have hidden_size {beside.Sum(t => t.Width)}; they do not "
                + $"belong together");
        if (text.FirstOrDefault(t => t.Encoder.IsBehind && t.Encoder.Graph is not null) is { Width: { } behind } last && behind != width)
            throw new UserError($"{denoiser}: expects text states of width {width}, but {last.Encoder.Name} has d_model {behind}; they "
                + $"do not belong together");
        TextEncoderFolder[] vectors = [.. text.Where(t => t.Encoder.Pooled is not null)];
        if (vectors.All(t => t.PooledWidth is not null) && vectors.Sum(t => t.PooledWidth) is var sum && sum != pooled)
            throw new UserError($"{denoiser}: expects a pooled text of width {pooled}, but "
                + $"{string.Join(" and ", vectors.Select(t => t.Encoder.Name))} give {sum}; they do not belong together");
    }

    private static TextEncoderFolder Clip(ModelIndex index, string name, string tokenizerName, ClipUse use, ModelOptions options)
    {
        var tokenizer = ClipTokenizer.Open(index.FolderOf(tokenizerName));
        var folder = index.Component(name);
        var length = tokenizer.MaxLength;
        var pooled = use.Projection ? "text_embeds" : use.PooledAlone ? "pooler_output" : null;
        if (folder.IsOnnx)
        {
            if (!use.Penultimate && options.ClipSkip > 0)
                throw new UserError($"`ClipSkip`: '{Path.Combine(folder.Path, "model.onnx")}' is exported as a whole; give the model's "
                    + $"weights, or leave it out");
            var given = use.PooledAlone ? null : use.Penultimate ? Hidden(ExportedLayers(folder)) : LastState;
            string[] outputs = [.. new[] { given, pooled }.OfType<string>()];
            return new(new TextEncoder(name, tokenizer.Encode, Exported, given, pooled), length, null, null);

            OnnxGraph Exported(Dim b) => ExportedGraph.Read(
                folder, [("input_ids", ElementType.Int64)], outputs[0], b.IsKnown
                    ? new Dictionary<string, long[]> { ["input_ids"] = [b.Size, length] } : null, outputs[1..]);
        }
        folder.Expect(use.Projection ? ["CLIPTextModelWithProjection"] : ["CLIPTextModel", "CLIPTextModelWithProjection"]);
        var config = ClipTextConfig.Parse(folder.Config);
        if (length > config.MaxPositionEmbeddings)
            throw new UserError($"{name}: max_position_embeddings is {config.MaxPositionEmbeddings}, but the tokenizer's "
                + $"model_max_length is {length}; they do not belong together");
        if (Math.Max(tokenizer.EndId, tokenizer.PadId) >= config.VocabSize)
            throw new UserError($"{name}: vocab_size is {config.VocabSize}, but the tokenizer's end and padding ids are "
                + $"{tokenizer.EndId} and {tokenizer.PadId}; they do not belong together");
        var states = use.PooledAlone ? null : use.Penultimate ? Hidden(config.NumHiddenLayers) : LastState;
        // Without its last layers it is the encoder of that many layers.
        if (!use.Penultimate) config = config with { NumHiddenLayers = Kept(config.NumHiddenLayers, options.ClipSkip) };
        var weights = folder.Weights();
        var encoder = new TextEncoder(name, tokenizer.Encode, b => ClipTextModel.Build(config, weights, use.Projection,
            hiddenStates: use.Penultimate, batch: b, sequence: length), states, pooled);
        return new(encoder, length, config.HiddenSize, use.Projection ? config.ProjectionDim : use.PooledAlone ? config.HiddenSize : null);

        string Hidden(long layers) => $"hidden_states.{Kept(layers, 1 + options.ClipSkip)}";

        long Kept(long layers, int skipped) => layers - skipped >= 1 ? layers - skipped
            : throw new UserError($"`ClipSkip`: {name} has {layers} layers, expected at most {layers - 1 - (use.Penultimate ? 1 : 0)}, "
                + $"got {options.ClipSkip}");
    }

    // Padding is not masked, as the pipelines have it.
    private static TextEncoderFolder T5(ModelIndex index, string name, string tokenizerName, int length)
    {
        var tokenizer = UnigramTokenizer.Open(index.FolderOf(tokenizerName));
        var folder = index.Component(name);
        if (folder.IsOnnx) return Of(b => ExportedGraph.Read(folder, [("input_ids", ElementType.Int64)], LastState, b.IsKnown
            ? new Dictionary<string, long[]> { ["input_ids"] = [b.Size, length] } : null), null);
        folder.Expect(T5Config.ClassName);
        var config = T5Config.Parse(folder.Config);
        if (tokenizer.PadId >= config.VocabSize)
            throw new UserError($"{name}: vocab_size is {config.VocabSize}, but the tokenizer's padding id is {tokenizer.PadId}; they do "
                + $"not belong together");
        var weights = folder.Weights();
        return Of(b => T5EncoderModel.Build(config, weights, b, length), config.DModel);

        TextEncoderFolder Of(Func<Dim, OnnxGraph> graph, long? width) =>
            new(new TextEncoder(name, prompt => tokenizer.Encode(prompt, length), graph, LastState) { IsBehind = true }, length,
                width, null);
    }

    // Stable Diffusion 3 without T5: as many tokens as the first tokenizer's, all zeros.
    private static TextEncoderFolder Zeros(ModelIndex index, int length)
    {
        var width = SD3Transformer2DConfig.Parse(index.Component("transformer").Config).JointAttentionDim;
        return new(new TextEncoder(Third, _ => new long[length], null, LastState) { IsBehind = true, Width = (int)width }, length,
            width, null);
    }

    private static long ExportedLayers(ComponentFolder folder) => folder.Config.Contains("\"num_hidden_layers\"", StringComparison.Ordinal)
        ? ClipTextConfig.Parse(folder.Config).NumHiddenLayers
        : throw new UserError($"{folder.Name}: '{Path.Combine(folder.Path, "config.json")}' does not say num_hidden_layers; take it from "
            + $"the model that was exported");
}
