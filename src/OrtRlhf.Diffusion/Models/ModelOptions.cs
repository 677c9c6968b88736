namespace OrtRlhf.Diffusion.Models;

/// <summary>The precision that a denoiser computes in.</summary>
public enum Precision
{
    /// <summary>Single.</summary>
    Fp32,

    /// <summary>
    /// Half: the weights of products lie as halves, but for about 1%, and are made single where they are used. Activations, adapters,
    /// log-probabilities, losses and
    /// gradients are single, so that results differ by the rounding of the weights alone. Models and exports in single precision are
    /// converted.
    /// </summary>
    Fp16,
}

/// <summary>How a model is read from its folder.</summary>
public sealed record ModelOptions
{
    /// <summary>
    /// Layers of the text encoders to leave out at the end, 0 to 11; default 0. With 1 Stable Diffusion 1 is conditioned on the states of
    /// the last layer but one,
    /// and XL, which always leaves one out, on those of the last but two; diffusers' <c>clip_skip</c>.
    /// </summary>
    public int ClipSkip { get; init; }

    /// <summary>Precision of the denoiser; text encoders and decoder stay in single precision. Default single.</summary>
    public Precision Dtype { get; init; }

    /// <summary>Size of the images; null, the default, for the model's own.</summary>
    public Pixels? ImageSize { get; init; }

    /// <summary>
    /// Tokens of T5's text, 1 to 4096; null, the default, as the pipelines have it: 256 for Stable Diffusion 3, 512 for FLUX.
    /// </summary>
    public int? MaxSequenceLength { get; init; }

    /// <summary>All faults, in the words of the command line; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (ClipSkip is < 0 or > 11) yield return $"`ClipSkip`: expected 0 to 11, got {ClipSkip}";
        if (ImageSize is { } size && (size.X is < 1 or > 16384
            || size.Y is < 1 or > 16384)) yield return $"`ImageSize`: expected 1 to 16384 pixels a side, got {size}";
        if (MaxSequenceLength is < 1 or > 4096) yield return $"`MaxSequenceLength`: expected 1 to 4096, got {MaxSequenceLength}";
    }
}
