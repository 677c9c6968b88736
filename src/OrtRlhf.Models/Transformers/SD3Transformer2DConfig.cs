using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>Options of an SD3Transformer2DModel, as its config.json has them; what is missing takes diffusers' default.</summary>
public sealed record SD3Transformer2DConfig
{
    /// <summary>Its name in config.json.</summary>
    public const string ClassName = "SD3Transformer2DModel";

    private const long MostLayers = 64;

    /// <summary>Height and width of the latents it was made for, in cells; 0 where it is not said.</summary>
    public long SampleSize { get; init; } = 128;

    /// <summary>Cells on a side of a patch, which is one token.</summary>
    public long PatchSize { get; init; } = 2;

    /// <summary>Channels of the latents.</summary>
    public long InChannels { get; init; } = 16;

    /// <summary>Channels of the velocity.</summary>
    public long OutChannels { get; init; } = 16;

    /// <summary>Blocks.</summary>
    public long NumLayers { get; init; } = 18;

    /// <summary>Width of a head.</summary>
    public long AttentionHeadDim { get; init; } = 64;

    /// <summary>Heads of attention.</summary>
    public long NumAttentionHeads { get; init; } = 18;

    /// <summary>Width of the text states.</summary>
    public long JointAttentionDim { get; init; } = 4096;

    /// <summary>Width of the pooled text.</summary>
    public long PooledProjectionDim { get; init; } = 2048;

    /// <summary>Rows and columns of the table of places, of which the middle is taken.</summary>
    public long PosEmbedMaxSize { get; init; } = 96;

    /// <summary>Blocks whose image attends to itself alone as well (SD 3.5 medium).</summary>
    public IReadOnlyList<long> DualAttentionLayers { get; init; } = [];

    /// <summary>Whether queries and keys are normalised (qk_norm = rms_norm; SD 3.5).</summary>
    public bool QkNorm { get; init; }

    /// <summary>Width of the states.</summary>
    public long InnerDim => NumAttentionHeads * AttentionHeadDim;

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static SD3Transformer2DConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        if (c.IsNull("pos_embed_max_size")) throw c.Unsupported("pos_embed_max_size", "null", "the size of a stored table of places");
        var channels = c.Integer("in_channels", 16);
        var layers = c.Integer("num_layers", 18, most: MostLayers);
        var config = new SD3Transformer2DConfig
        {
            SampleSize = c.Size("sample_size"),
            PatchSize = c.Integer("patch_size", 2, most: 64),
            InChannels = channels,
            OutChannels = c.Integer("out_channels", c.IsNull("out_channels") ? channels : 16),
            NumLayers = layers,
            AttentionHeadDim = c.Integer("attention_head_dim", 64),
            NumAttentionHeads = c.Integer("num_attention_heads", 18),
            JointAttentionDim = c.Integer("joint_attention_dim", 4096),
            PooledProjectionDim = c.Integer("pooled_projection_dim", 2048),
            PosEmbedMaxSize = c.Integer("pos_embed_max_size", 96, most: 4096),
            DualAttentionLayers = c.Indices("dual_attention_layers", layers),
            QkNorm = c.Text("qk_norm") is { } norm
                && (norm == "rms_norm" ? true : throw c.Unsupported("qk_norm", $"\"{norm}\"", "rms_norm or null")),
        };
        var caption = c.Integer("caption_projection_dim", 1152);
        c.NothingElse();
        if (caption != config.InnerDim) throw c.Unsupported("caption_projection_dim", $"{caption}",
            $"num_attention_heads * attention_head_dim = {config.InnerDim}");
        return config;
    }
}
