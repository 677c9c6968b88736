namespace OrtRlhf.Models;

/// <summary>Options of an AutoencoderKL, as its config.json has them; what is missing takes diffusers' default.</summary>
public sealed record AutoencoderKlConfig
{
    internal const string ClassName = "AutoencoderKL";

    /// <summary>Image channels in.</summary>
    public long InChannels { get; init; } = 3;

    /// <summary>Image channels out.</summary>
    public long OutChannels { get; init; } = 3;

    /// <summary>Latent channels.</summary>
    public long LatentChannels { get; init; } = 4;

    /// <summary>Width of each stage; every stage but the last halves height and width.</summary>
    public long[] BlockOutChannels { get; init; } = [64];

    /// <summary>Residual blocks in each stage of the encoder; one more in the decoder.</summary>
    public long LayersPerBlock { get; init; } = 1;

    /// <summary>Groups of group normalisations.</summary>
    public long NormNumGroups { get; init; } = 32;

    /// <summary>Activation.</summary>
    public string ActFn { get; init; } = "silu";

    /// <summary>Whether the middle has attention between its residual blocks.</summary>
    public bool MidBlockAddAttention { get; init; } = true;

    /// <summary>Whether a 1x1 convolution follows the encoder.</summary>
    public bool UseQuantConv { get; init; } = true;

    /// <summary>Whether a 1x1 convolution precedes the decoder.</summary>
    public bool UsePostQuantConv { get; init; } = true;

    /// <summary>Latents are multiplied by it before they reach the denoiser, and divided by it before they are decoded.</summary>
    public double ScalingFactor { get; init; } = 0.18215;

    /// <summary>Taken off latents before they are multiplied by <see cref="ScalingFactor"/>, and added after the division.</summary>
    public double ShiftFactor { get; init; }

    /// <summary>Whether a half-precision model computes in single precision: activations of some pass what halves can hold.</summary>
    public bool ForceUpcast { get; init; }

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="Graph.UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static AutoencoderKlConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        c.Only("latents_mean");
        c.Only("latents_std");
        var config = new AutoencoderKlConfig
        {
            InChannels = c.Integer("in_channels", 3),
            OutChannels = c.Integer("out_channels", 3),
            LatentChannels = c.Integer("latent_channels", 4),
            BlockOutChannels = c.Integers("block_out_channels", 64),
            LayersPerBlock = c.Integer("layers_per_block", 1),
            NormNumGroups = c.Integer("norm_num_groups", 32),
            ActFn = c.Activation("act_fn", "silu"),
            MidBlockAddAttention = c.Flag("mid_block_add_attention", true),
            UseQuantConv = c.Flag("use_quant_conv", true),
            UsePostQuantConv = c.Flag("use_post_quant_conv", true),
            ScalingFactor = c.Number("scaling_factor", 0.18215),
            ShiftFactor = c.Number("shift_factor", 0),
            ForceUpcast = c.Flag("force_upcast", false),
        };
        var stages = config.BlockOutChannels.Length;
        c.SameCount("down_block_types", c.Choices("down_block_types", ["DownEncoderBlock2D"], "DownEncoderBlock2D").Length, stages);
        c.SameCount("up_block_types", c.Choices("up_block_types", ["UpDecoderBlock2D"], "UpDecoderBlock2D").Length, stages);
        c.NothingElse();
        return config;
    }
}
