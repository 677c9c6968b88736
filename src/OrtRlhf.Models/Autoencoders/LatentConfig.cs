namespace OrtRlhf.Models;

/// <summary>Sizes of the latents that a denoiser was made for, whatever its class, from its config.json.</summary>
/// <param name="Channels">Channels (in_channels); 0 where it is not said.</param>
/// <param name="Height">Height in cells (sample_size); 0 where it is not said.</param>
/// <param name="Width">Width in cells (sample_size); 0 where it is not said.</param>
public sealed record LatentConfig(long Channels, long Height, long Width)
{
    /// <summary>Reads the text of a denoiser's config.json.</summary>
    /// <param name="json">The text.</param>
    /// <param name="model">What errors call the model.</param>
    /// <exception cref="Graph.UserError">It is not valid.</exception>
    public static LatentConfig Parse(string json, string model)
    {
        var c = ConfigReader.Parse(json, model);
        return new LatentConfig(c.Integer("in_channels", 0, 0), c.Size("sample_size"), c.Size("sample_size", 1));
    }
}

/// <summary>
/// How a denoiser's latents differ from the decoder's, <c>z = latent / ScalingFactor + ShiftFactor</c>, from the autoencoder's config.json.
/// </summary>
/// <param name="ScalingFactor">scaling_factor; 0.18215 where it is not said, but 1 for AutoencoderTiny.</param>
/// <param name="ShiftFactor">shift_factor; 0 where it is not said.</param>
public sealed record LatentScaling(double ScalingFactor, double ShiftFactor)
{
    /// <summary>Reads the text of an autoencoder's config.json.</summary>
    /// <param name="json">The text.</param>
    /// <param name="className">Its class.</param>
    /// <exception cref="Graph.UserError">It is not valid, or the factor is not positive.</exception>
    public static LatentScaling Parse(string json, string className)
    {
        var c = ConfigReader.Parse(json, className);
        var scaling = new LatentScaling(c.Number("scaling_factor", className == AutoencoderTinyConfig.ClassName ? 1 : 0.18215),
            c.Number("shift_factor", 0));
        return scaling.ScalingFactor > 0 ? scaling : throw c.Unsupported("scaling_factor", $"{scaling.ScalingFactor}", "a positive number");
    }

    /// <summary>
    /// Pixels for each cell along one side, <c>2^(blocks - 1)</c>, from an autoencoder's config.json; 8 where it says nothing.
    /// </summary>
    /// <param name="json">The text.</param>
    /// <exception cref="Graph.UserError">It is not valid.</exception>
    public static int PixelsPerCell(string json)
    {
        var c = ConfigReader.Parse(json, "vae");
        var blocks = c.Has("decoder_block_out_channels") ? c.Integers("decoder_block_out_channels")
            : c.Integers("block_out_channels", 0, 0, 0, 0);
        return 1 << Math.Clamp(blocks.Length - 1, 0, 10);
    }
}
