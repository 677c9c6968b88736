using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// A text encoder of a pipeline folder with its tokenizer. Stable Diffusion 1 and 2 take the states behind the final normalisation; XL those of the last layer but
/// one, of two encoders, and the second one's projected text.
/// </summary>
/// <param name="Encoder">The encoder.</param>
/// <param name="Tokens">Tokens of a text.</param>
/// <param name="Width">Numbers of a state; null where only the exported graph knows.</param>
/// <param name="PooledWidth">Numbers of the projected text; null where there is none, or only the exported graph knows.</param>
internal sealed record TextEncoderFolder(TextEncoder Encoder, int Tokens, long? Width, long? PooledWidth)
{
    private const string First = "text_encoder", Second = "text_encoder_2";

    /// <summary>Opens the text encoders of a pipeline: one, or two; none for a model without text.</summary>
    /// <exception cref="UserError">One is missing, damaged, of another class, or does not fit its tokenizer.</exception>
    public static IReadOnlyList<TextEncoderFolder> OpenAll(ModelIndex index, bool isConditional, ModelOptions options)
    {
        if (!isConditional)
        {
            return options.ClipSkip == 0 ? [] : throw new UserError("--clip-skip: the model has no text encoder; leave it out");
        }
        if (!index.Has(Second)) return [Open(index, First, "tokenizer", isXl: false, options)];
        if (!index.Has(First))
            throw new UserError($"model '{index.Folder}': has {Second} but no {First}, as the refiner of Stable Diffusion XL, which goes on with images of the base model; give the base model");
        return [Open(index, First, "tokenizer", isXl: true, options), Open(index, Second, "tokenizer_2", isXl: true, options)];
    }

    private static TextEncoderFolder Open(ModelIndex index, string name, string tokenizerName, bool isXl, ModelOptions options)
    {
        var tokenizer = ClipTokenizer.Open(index.FolderOf(tokenizerName));
        var folder = index.Component(name);
        var length = tokenizer.MaxLength;
        var projection = isXl && name == Second;
        if (folder.IsOnnx)
        {
            if (!isXl && options.ClipSkip > 0)
                throw new UserError($"--clip-skip: '{Path.Combine(folder.Path, "model.onnx")}' is exported as a whole; give the model's weights, or leave it out");
            var given = isXl ? Hidden(ExportedLayers(folder)) : "last_hidden_state";
            string[] others = projection ? ["text_embeds"] : [];
            return new(new TextEncoder(name, tokenizer.Encode, Exported, given, others.FirstOrDefault()), length, null, null);

            OnnxGraph Exported(Dim b) => ExportedGraph.Read(
                folder, [("input_ids", ElementType.Int64)], given, b.IsKnown ? new Dictionary<string, long[]> { ["input_ids"] = [b.Size, length] } : null, others);
        }
        folder.Expect(projection ? ["CLIPTextModelWithProjection"] : ["CLIPTextModel", "CLIPTextModelWithProjection"]);
        var config = ClipTextConfig.Parse(folder.Config);
        if (length > config.MaxPositionEmbeddings)
            throw new UserError($"{name}: max_position_embeddings is {config.MaxPositionEmbeddings}, but the tokenizer's model_max_length is {length}; they do not belong together");
        if (Math.Max(tokenizer.EndId, tokenizer.PadId) >= config.VocabSize)
            throw new UserError($"{name}: vocab_size is {config.VocabSize}, but the tokenizer's end and padding ids are {tokenizer.EndId} and {tokenizer.PadId}; they do not belong together");
        var states = isXl ? Hidden(config.NumHiddenLayers) : "last_hidden_state";
        // Without its last layers it is the encoder of that many layers.
        if (!isXl) config = config with { NumHiddenLayers = Kept(config.NumHiddenLayers, options.ClipSkip) };
        var weights = folder.Weights();
        var encoder = new TextEncoder(name, tokenizer.Encode, b => ClipTextModel.Build(config, weights, projection, hiddenStates: isXl, batch: b, sequence: length), states, projection ? "text_embeds" : null);
        return new(encoder, length, config.HiddenSize, projection ? config.ProjectionDim : null);

        string Hidden(long layers) => $"hidden_states.{Kept(layers, 1 + options.ClipSkip)}";

        long Kept(long layers, int skipped) => layers - skipped >= 1 ? layers - skipped
            : throw new UserError($"--clip-skip: {name} has {layers} layers, expected at most {layers - 1 - (isXl ? 1 : 0)}, got {options.ClipSkip}");
    }

    private static long ExportedLayers(ComponentFolder folder) => folder.Config.Contains("\"num_hidden_layers\"", StringComparison.Ordinal)
        ? ClipTextConfig.Parse(folder.Config).NumHiddenLayers
        : throw new UserError($"{folder.Name}: '{Path.Combine(folder.Path, "config.json")}' does not say num_hidden_layers; take it from the model that was exported");
}
