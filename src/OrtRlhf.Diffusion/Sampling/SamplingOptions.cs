using System.Globalization;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>How images are sampled.</summary>
public sealed record SamplingOptions
{
    /// <summary>The sampler. Default that of the model's kind.</summary>
    public SamplerKind Sampler { get; init; }

    /// <summary>Steps from noise to image, 1 to 1000; default 10.</summary>
    public int Steps { get; init; } = 10;

    /// <summary>Noise of DDIM's steps, 0 (deterministic) to 1 (ancestral, as DDPO); default 1.</summary>
    public double Eta { get; init; } = 1;

    /// <summary>
    /// How noisy a flow's noisy steps are, &gt; 0; null, the default, for that of the sampler
    /// (<see cref="FlowTableOptions.EffectiveLevel"/>).
    /// </summary>
    public double? NoiseLevel { get; init; }

    /// <summary>The noisy steps of DDIM or of a flow's noisy sampler; null, the default, for all (of a flow, but the last).</summary>
    public NoiseWindow? NoiseWindow { get; init; }

    /// <summary>
    /// Classifier-free guidance g: <c>m = u + g (c - u)</c> of the outputs without (u) and with (c) the prompt; at least 0, default 3.
    /// At 1 the model runs once a step, without u, and so it does where there are no prompts. A distilled model (FLUX) takes g as a number.
    /// </summary>
    public double GuidanceScale { get; init; } = 3;

    /// <summary>Classifier-free guidance of a distilled model, beside that number; at least 0, default 1, none.</summary>
    public double TrueCfgScale { get; init; } = 1;

    /// <summary>
    /// Whether the predicted image is clamped at each step (diffusers' <c>clip_sample</c>). Null, the default, as the model's scheduler
    /// says; but policy gradients,
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
        if (Steps is < 1 or > 1000) yield return $"`Steps`: expected 1 to 1000, got {Steps}";
        if (!(Eta is >= 0 and <= 1)) yield return string.Create(CultureInfo.InvariantCulture, $"`Eta`: expected 0 to 1, got {Eta}");
        if (!(GuidanceScale >= 0 && double.IsFinite(GuidanceScale)))
            yield return string.Create(CultureInfo.InvariantCulture,
                $"`GuidanceScale`: expected a number of at least 0, got {GuidanceScale}");
        if (!(TrueCfgScale >= 0 && double.IsFinite(TrueCfgScale)))
            yield return string.Create(CultureInfo.InvariantCulture,
                $"`TrueCfgScale`: expected a number of at least 0, got {TrueCfgScale}");
        if (!(NoiseLevel is null or > 0 and < double.PositiveInfinity))
            yield return string.Create(CultureInfo.InvariantCulture, $"`NoiseLevel`: expected a number > 0, got {NoiseLevel}");
        if (BatchSize is < 1 or > 4096) yield return $"`BatchSize`: expected 1 to 4096, got {BatchSize}";
    }
}
