using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>Options of a FluxTransformer2DModel, as its config.json has them; what is missing takes diffusers' default.</summary>
public sealed record FluxTransformer2DConfig
{
    /// <summary>Its name in config.json.</summary>
    public const string ClassName = "FluxTransformer2DModel";

    private const long MostLayers = 128;

    /// <summary>Cells on a side of a patch beyond those that the latents are packed by already; 1 in all published models.</summary>
    public long PatchSize { get; init; } = 1;

    /// <summary>Channels of the packed latents: 4 times those of the autoencoder.</summary>
    public long InChannels { get; init; } = 64;

    /// <summary>Channels of the velocity, packed as the latents are.</summary>
    public long OutChannels { get; init; } = 64;

    /// <summary>Blocks of image and text.</summary>
    public long NumLayers { get; init; } = 19;

    /// <summary>Blocks of the joined sequence, behind those.</summary>
    public long NumSingleLayers { get; init; } = 38;

    /// <summary>Width of a head.</summary>
    public long AttentionHeadDim { get; init; } = 128;

    /// <summary>Heads of attention.</summary>
    public long NumAttentionHeads { get; init; } = 24;

    /// <summary>Width of the text states.</summary>
    public long JointAttentionDim { get; init; } = 4096;

    /// <summary>Width of the pooled text.</summary>
    public long PooledProjectionDim { get; init; } = 768;

    /// <summary>Whether the guidance is an input (distilled models).</summary>
    public bool GuidanceEmbeds { get; init; }

    /// <summary>Channels of a head that turn by each axis of the places; together the width of a head.</summary>
    public IReadOnlyList<long> AxesDimsRope { get; init; } = [16, 56, 56];

    /// <summary>Width of the states.</summary>
    public long InnerDim => NumAttentionHeads * AttentionHeadDim;

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static FluxTransformer2DConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        var channels = c.Integer("in_channels", 64);
        var config = new FluxTransformer2DConfig
        {
            PatchSize = c.Integer("patch_size", 1, most: 64),
            InChannels = channels,
            OutChannels = c.Integer("out_channels", channels),
            NumLayers = c.Integer("num_layers", 19, 0, MostLayers),
            NumSingleLayers = c.Integer("num_single_layers", 38, 0, MostLayers),
            AttentionHeadDim = c.Integer("attention_head_dim", 128),
            NumAttentionHeads = c.Integer("num_attention_heads", 24),
            JointAttentionDim = c.Integer("joint_attention_dim", 4096),
            PooledProjectionDim = c.Integer("pooled_projection_dim", 768),
            GuidanceEmbeds = c.Flag("guidance_embeds", false),
            AxesDimsRope = c.Integers("axes_dims_rope", 16, 56, 56),
        };
        c.NothingElse();
        if (config.AxesDimsRope.Sum() != config.AttentionHeadDim || config.AxesDimsRope.Any(d => d % 2 != 0))
            throw c.Unsupported("axes_dims_rope", $"[{string.Join(", ", config.AxesDimsRope)}]",
                $"even numbers whose sum is attention_head_dim = {config.AttentionHeadDim}");
        return config;
    }
}
