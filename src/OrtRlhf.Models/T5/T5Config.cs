using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>Options of a T5 encoder, as its config.json has them; what is missing takes transformers' default.</summary>
public sealed record T5Config
{
    /// <summary>Its name in config.json.</summary>
    public const string ClassName = "T5EncoderModel";

    private const long MostLayers = 256, LongestDistance = 1 << 16;

    /// <summary>Tokens in the vocabulary.</summary>
    public long VocabSize { get; init; } = 32128;

    /// <summary>Width of the states.</summary>
    public long DModel { get; init; } = 512;

    /// <summary>Width of a head.</summary>
    public long DKv { get; init; } = 64;

    /// <summary>Width inside the feed-forward layers.</summary>
    public long DFf { get; init; } = 2048;

    /// <summary>Layers.</summary>
    public long NumLayers { get; init; } = 6;

    /// <summary>Heads of attention.</summary>
    public long NumHeads { get; init; } = 8;

    /// <summary>Learned biases of distances for each head, half of them for each direction.</summary>
    public long RelativeAttentionNumBuckets { get; init; } = 32;

    /// <summary>Distance from which on all share one bias.</summary>
    public long RelativeAttentionMaxDistance { get; init; } = 128;

    /// <summary>Epsilon of the normalisations.</summary>
    public double LayerNormEpsilon { get; init; } = 1e-6;

    /// <summary>Activation of the feed-forward layers.</summary>
    public string Activation { get; init; } = "relu";

    /// <summary>Whether the feed-forward layers are gated.</summary>
    public bool IsGated { get; init; }

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static T5Config Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        var feedForward = c.Text("feed_forward_proj") ?? "relu";
        var gated = feedForward.StartsWith("gated-", StringComparison.Ordinal);
        // The first gated models were made with the approximate gelu under the name of the exact one.
        var activation = feedForward == "gated-gelu" ? "gelu_new" : gated ? feedForward["gated-".Length..] : feedForward;
        if (!OrtRlhf.Models.Activation.Names.Contains(activation))
            throw c.Unsupported("feed_forward_proj", $"\"{feedForward}\"",
                $"one of {string.Join(", ", OrtRlhf.Models.Activation.Names)}, or that behind gated-");
        var config = new T5Config
        {
            VocabSize = c.Integer("vocab_size", 32128),
            DModel = c.Integer("d_model", 512),
            DKv = c.Integer("d_kv", 64),
            DFf = c.Integer("d_ff", 2048),
            NumLayers = c.Integer("num_layers", 6, most: MostLayers),
            NumHeads = c.Integer("num_heads", 8),
            RelativeAttentionNumBuckets = c.Integer("relative_attention_num_buckets", 32, 4, LongestDistance),
            RelativeAttentionMaxDistance = c.Integer("relative_attention_max_distance", 128, 2, LongestDistance),
            LayerNormEpsilon = c.Number("layer_norm_epsilon", 1e-6),
            Activation = activation,
            IsGated = gated,
        };
        if (config.RelativeAttentionMaxDistance <= config.RelativeAttentionNumBuckets / 4)
            throw c.Unsupported("relative_attention_max_distance", $"{config.RelativeAttentionMaxDistance}",
                $"more than relative_attention_num_buckets / 4 = {config.RelativeAttentionNumBuckets / 4}");
        return config;
    }
}
