using System.Globalization;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>How images are sampled.</summary>
public sealed record SamplingOptions
{
    /// <summary>The sampler. Default DDIM.</summary>
    public SamplerKind Sampler { get; init; } = SamplerKind.Ddim;

    /// <summary>Steps from noise to image, 1 to 1000; default 10.</summary>
    public int Steps { get; init; } = 10;

    /// <summary>Noise of DDIM's steps, 0 (deterministic) to 1 (ancestral, as DDPO); default 1.</summary>
    public double Eta { get; init; } = 1;

    /// <summary>
    /// Classifier-free guidance g: <c>m = u + g (c - u)</c> of the outputs without (u) and with (c) the prompt; at least 0, default 3.
    /// At 1 the model runs once a step, without u, and so it does where there are no prompts.
    /// </summary>
    public double GuidanceScale { get; init; } = 3;

    /// <summary>
    /// Whether the predicted image is clamped at each step (diffusers' <c>clip_sample</c>). Null, the default, as the model's scheduler says; but policy gradients,
    /// whose means are linear in the model's output, sample without.
    /// </summary>
    public bool? ClipSample { get; init; }

    /// <summary>What Stable Diffusion XL is told of sizes and crop.</summary>
    public MicroConditioning Sizes { get; init; } = new();

    /// <summary>Images sampled together; at least 1, default 16. Results do not depend on it, but for rounding.</summary>
    public int BatchSize { get; init; } = 16;

    /// <summary>All faults, in the words of the command line; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (Steps is < 1 or > 1000) yield return $"--steps: expected 1 to 1000, got {Steps}";
        if (!(Eta is >= 0 and <= 1)) yield return string.Create(CultureInfo.InvariantCulture, $"--eta: expected 0 to 1, got {Eta}");
        if (!(GuidanceScale >= 0 && double.IsFinite(GuidanceScale)))
            yield return string.Create(CultureInfo.InvariantCulture, $"--guidance-scale: expected a number of at least 0, got {GuidanceScale}");
        if (BatchSize is < 1 or > 4096) yield return $"--batch-size: expected 1 to 4096, got {BatchSize}";
    }
}
