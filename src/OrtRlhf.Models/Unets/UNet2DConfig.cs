namespace OrtRlhf.Models;

/// <summary>
/// Options of a UNet2DModel, as its config.json has them; what is missing takes diffusers' default. Lists have an entry for each block,
/// from the
/// outermost to the innermost.
/// </summary>
public sealed record UNet2DConfig
{
    /// <summary>Its name in config.json.</summary>
    public const string ClassName = "UNet2DModel";

    /// <summary>Height and width of the images it was trained on; 0 where not said.</summary>
    public long SampleSize { get; init; }

    /// <summary>Input channels.</summary>
    public long InChannels { get; init; } = 3;

    /// <summary>Output channels.</summary>
    public long OutChannels { get; init; } = 3;

    /// <summary>Whether the input x becomes 2x - 1 first.</summary>
    public bool CenterInputSample { get; init; }

    /// <summary>Whether the sinusoids of the timestep start with cosines.</summary>
    public bool FlipSinToCos { get; init; } = true;

    /// <summary>Taken off the divisor of the sinusoids' exponents.</summary>
    public double FreqShift { get; init; }

    /// <summary>AttnDownBlock2D or DownBlock2D.</summary>
    public string[] DownBlockTypes { get; init; } = ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"];

    /// <summary>AttnUpBlock2D or UpBlock2D, from the innermost to the outermost.</summary>
    public string[] UpBlockTypes { get; init; } = ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"];

    /// <summary>Whether there is a middle block.</summary>
    public bool HasMiddle { get; init; } = true;

    /// <summary>Whether the middle has attention between its residual blocks.</summary>
    public bool AddAttention { get; init; } = true;

    /// <summary>Width of each block.</summary>
    public long[] BlockOutChannels { get; init; } = [224, 448, 672, 896];

    /// <summary>Residual blocks in each block on the way down; one more on the way up.</summary>
    public long LayersPerBlock { get; init; } = 2;

    /// <summary>The middle blocks' outputs are divided by it.</summary>
    public double MidBlockScaleFactor { get; init; } = 1;

    /// <summary>Zeros around the input of a downsampling convolution; 0 pads bottom and right only.</summary>
    public long DownsamplePadding { get; init; } = 1;

    /// <summary>Activation.</summary>
    public string ActFn { get; init; } = "silu";

    /// <summary>Width of a head of attention; null for one head of all channels.</summary>
    public long? AttentionHeadDim { get; init; } = 8;

    /// <summary>Groups of group normalisations.</summary>
    public long NormNumGroups { get; init; } = 32;

    /// <summary>Groups of the normalisation in the middle's attention; null for none.</summary>
    public long? AttnNormNumGroups { get; init; } = 32;

    /// <summary>Epsilon of all group normalisations.</summary>
    public double NormEps { get; init; } = 1e-5;

    /// <summary>Whether the time embedding scales and shifts (scale_shift) instead of being added (default).</summary>
    public bool ResnetScaleShift { get; init; }

    /// <summary>Width of the time embedding.</summary>
    public long TimeEmbeddingDim { get; init; } = 896;

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="Graph.UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static UNet2DConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        c.Only("time_embedding_type", "\"positional\"");
        c.Only("downsample_type", "\"conv\"");
        c.Only("upsample_type", "\"conv\"");
        c.Only("attention_legacy_order", "false");
        c.Only("class_embed_type");
        c.Only("num_class_embeds");
        var d = new UNet2DConfig();
        var channels = c.Integers("block_out_channels", d.BlockOutChannels);
        var scaleShift = c.Choice("resnet_time_scale_shift", "default", "default", "scale_shift") == "scale_shift";
        var config = new UNet2DConfig
        {
            SampleSize = c.Size("sample_size"),
            InChannels = c.Integer("in_channels", 3),
            OutChannels = c.Integer("out_channels", 3),
            CenterInputSample = c.Flag("center_input_sample", false),
            FlipSinToCos = c.Flag("flip_sin_to_cos", true),
            FreqShift = c.Number("freq_shift", 0),
            DownBlockTypes = c.Choices("down_block_types", d.DownBlockTypes, "DownBlock2D", "AttnDownBlock2D"),
            UpBlockTypes = c.Choices("up_block_types", d.UpBlockTypes, "UpBlock2D", "AttnUpBlock2D"),
            HasMiddle = !c.IsNull("mid_block_type") && c.Choice("mid_block_type", "UNetMidBlock2D", "UNetMidBlock2D").Length > 0,
            AddAttention = c.Flag("add_attention", true),
            BlockOutChannels = channels,
            LayersPerBlock = c.Integer("layers_per_block", 2),
            MidBlockScaleFactor = c.Number("mid_block_scale_factor", 1),
            DownsamplePadding = c.Integer("downsample_padding", 1, 0),
            ActFn = c.Activation("act_fn", "silu"),
            AttentionHeadDim = c.IsNull("attention_head_dim") ? null : c.Integer("attention_head_dim", 8),
            NormNumGroups = c.Integer("norm_num_groups", 32),
            AttnNormNumGroups = c.OptionalInteger("attn_norm_num_groups") ?? (scaleShift ? null : c.Integer("norm_num_groups", 32)),
            NormEps = c.Number("norm_eps", 1e-5),
            ResnetScaleShift = scaleShift,
            TimeEmbeddingDim = c.Integer("time_embedding_dim", channels[0] * 4),
        };
        c.NothingElse("num_train_timesteps");
        c.SameCount("down_block_types", config.DownBlockTypes.Length, channels.Length);
        c.SameCount("up_block_types", config.UpBlockTypes.Length, channels.Length);
        return config;
    }
}
