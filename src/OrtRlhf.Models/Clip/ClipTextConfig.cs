namespace OrtRlhf.Models;

/// <summary>Options of a CLIP text encoder, as its config.json has them; what is missing takes transformers' default.</summary>
public sealed record ClipTextConfig
{
    private const long LongestText = 4096;

    /// <summary>Tokens in the vocabulary.</summary>
    public long VocabSize { get; init; } = 49408;

    /// <summary>Width of the states.</summary>
    public long HiddenSize { get; init; } = 512;

    /// <summary>Width inside the feed-forward layers.</summary>
    public long IntermediateSize { get; init; } = 2048;

    /// <summary>Width of the projected text, for models with a projection.</summary>
    public long ProjectionDim { get; init; } = 512;

    /// <summary>Layers.</summary>
    public long NumHiddenLayers { get; init; } = 12;

    /// <summary>Heads of attention.</summary>
    public long NumAttentionHeads { get; init; } = 8;

    /// <summary>Longest text in tokens.</summary>
    public long MaxPositionEmbeddings { get; init; } = 77;

    /// <summary>Activation.</summary>
    public string HiddenAct { get; init; } = "quick_gelu";

    /// <summary>Epsilon of layer normalisations.</summary>
    public double LayerNormEps { get; init; } = 1e-5;

    /// <summary>Id of the token at which the text is pooled; 2 in old files, which means the largest id of the row.</summary>
    public long EosTokenId { get; init; } = 49407;

    /// <summary>Whether the states of each layer are asked for.</summary>
    public bool OutputHiddenStates { get; init; }

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="Graph.UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static ClipTextConfig Parse(string json) => Read(ConfigReader.Parse(json, "CLIPTextModel"));

    internal static ClipTextConfig Read(ConfigReader c) => new()
    {
        VocabSize = c.Integer("vocab_size", 49408),
        HiddenSize = c.Integer("hidden_size", 512),
        IntermediateSize = c.Integer("intermediate_size", 2048),
        ProjectionDim = c.Integer("projection_dim", 512),
        NumHiddenLayers = c.Integer("num_hidden_layers", 12),
        NumAttentionHeads = c.Integer("num_attention_heads", 8),
        MaxPositionEmbeddings = c.Integer("max_position_embeddings", 77, most: LongestText),
        HiddenAct = c.Activation("hidden_act", "quick_gelu"),
        LayerNormEps = c.Number("layer_norm_eps", 1e-5),
        EosTokenId = c.Integer("eos_token_id", 49407, 0),
        OutputHiddenStates = c.Flag("output_hidden_states", false),
    };
}
