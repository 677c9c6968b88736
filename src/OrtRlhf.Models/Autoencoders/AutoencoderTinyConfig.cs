namespace OrtRlhf.Models;

/// <summary>Options of an AutoencoderTiny, as its config.json has them; what is missing takes diffusers' default.</summary>
public sealed record AutoencoderTinyConfig
{
    internal const string ClassName = "AutoencoderTiny";

    /// <summary>Image channels in.</summary>
    public long InChannels { get; init; } = 3;

    /// <summary>Image channels out.</summary>
    public long OutChannels { get; init; } = 3;

    /// <summary>Latent channels.</summary>
    public long LatentChannels { get; init; } = 4;

    /// <summary>Width of each stage of the encoder.</summary>
    public long[] EncoderBlockOutChannels { get; init; } = [64, 64, 64, 64];

    /// <summary>Width of each stage of the decoder.</summary>
    public long[] DecoderBlockOutChannels { get; init; } = [64, 64, 64, 64];

    /// <summary>Residual blocks in each stage of the encoder; every stage but the first halves height and width.</summary>
    public long[] NumEncoderBlocks { get; init; } = [1, 3, 3, 3];

    /// <summary>Residual blocks in each stage of the decoder; every stage but the last enlarges height and width.</summary>
    public long[] NumDecoderBlocks { get; init; } = [3, 3, 3, 1];

    /// <summary>Activation.</summary>
    public string ActFn { get; init; } = "relu";

    /// <summary>Factor by which a stage of the decoder enlarges.</summary>
    public long UpsamplingScalingFactor { get; init; } = 2;

    /// <summary>Latents are multiplied by it before they reach the denoiser, and divided by it before they are decoded.</summary>
    public double ScalingFactor { get; init; } = 1;

    /// <summary>Taken off latents before they are multiplied by <see cref="ScalingFactor"/>, and added after the division.</summary>
    public double ShiftFactor { get; init; }

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="Graph.UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static AutoencoderTinyConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        c.Only("upsample_fn", "\"nearest\"");
        var d = new AutoencoderTinyConfig();
        var config = new AutoencoderTinyConfig
        {
            InChannels = c.Integer("in_channels", 3),
            OutChannels = c.Integer("out_channels", 3),
            LatentChannels = c.Integer("latent_channels", 4),
            EncoderBlockOutChannels = c.Integers("encoder_block_out_channels", d.EncoderBlockOutChannels),
            DecoderBlockOutChannels = c.Integers("decoder_block_out_channels", d.DecoderBlockOutChannels),
            NumEncoderBlocks = c.Integers("num_encoder_blocks", d.NumEncoderBlocks),
            NumDecoderBlocks = c.Integers("num_decoder_blocks", d.NumDecoderBlocks),
            ActFn = c.Activation("act_fn", "relu"),
            UpsamplingScalingFactor = c.Integer("upsampling_scaling_factor", 2),
            ScalingFactor = c.Number("scaling_factor", 1),
            ShiftFactor = c.Number("shift_factor", 0),
        };
        c.NothingElse("block_out_channels", "latent_magnitude", "latent_shift", "force_upcast");
        c.SameCount("num_encoder_blocks", config.NumEncoderBlocks.Length, config.EncoderBlockOutChannels.Length);
        c.SameCount("num_decoder_blocks", config.NumDecoderBlocks.Length, config.DecoderBlockOutChannels.Length);
        return config;
    }
}
