using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Tuning.Training;

/// <summary>What a training graph that is written to a file computes.</summary>
public sealed record TrainingFileOptions
{
    /// <summary>The method.</summary>
    public required TrainingFileMethod Method { get; init; }

    /// <summary>B, rows of <c>sample</c>, at least 1; even for methods that compare pairs.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Which layers are adapted, rank and alpha.</summary>
    public LoraOptions Lora { get; init; } = new();

    /// <summary>Whether every weight of the model is trained, instead of adapters.</summary>
    public bool AllWeights { get; init; }

    /// <summary>
    /// Scale of classifier-free guidance, at least 1, with the gradient through both branches; 1 for none. Null for the method's default: 5
    /// for policy gradients
    /// of models that take text, as DDPO; none for others.
    /// </summary>
    public double? GuidanceScale { get; init; }

    /// <summary>Half width of the ratio's trust region, (0, 1). Null for <see cref="TrainingFileMethod.ClipRange"/>.</summary>
    public double? ClipRange { get; init; }

    /// <summary>
    /// Weight of the KL divergence to the reference of policy gradients, at least 0. Null for <see cref="TrainingFileMethod.KlWeight"/>.
    /// </summary>
    public double? KlWeight { get; init; }

    /// <summary>beta, &gt; 0. Null for <see cref="TrainingFileMethod.Beta"/>.</summary>
    public double? Beta { get; init; }

    /// <summary>Sizes of the inputs, where they are not the model's own.</summary>
    public DenoiserSizes Sizes { get; init; } = new();

    /// <summary>Seed of the adapters' initial values.</summary>
    public ulong Seed { get; init; }

    /// <summary>Precision that the model's weights lie in; all is computed in single precision whatever it is. Default single.</summary>
    public Precision Dtype { get; init; }

    internal double ResolvedClipRange => ClipRange ?? Method.ClipRange ?? 0;

    internal double ResolvedBeta => Beta ?? Method.Beta ?? 0;

    internal double ResolvedKlWeight => KlWeight ?? Method.KlWeight ?? 0;

    /// <summary>Checks what no other record checks.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate()
    {
        var faults = new List<string>();
        foreach (var (name, given, has) in new[] { ("beta", Beta, Method.Beta), ("clip range", ClipRange, Method.ClipRange),
            ("KL weight", KlWeight, Method.KlWeight) })
            if (given is not null && has is null) faults.Add($"{name}: {Method.Name} has none; leave it out");
        if (BatchSize is < 1 or > 65_536) faults.Add($"batch size: expected 1 to 65536, got {BatchSize}");
        if (Method.IsPaired && BatchSize % 2 != 0)
            faults.Add($"batch size: {Method.Name} compares pairs, the preferred samples first and then the rejected ones; expected an "
                + $"even number, got {BatchSize}");
        if (GuidanceScale is { } scale && !(scale >= 1
            && double.IsFinite(scale))) faults.Add(FormattableString.Invariant($"guidance scale: expected at least 1, got {scale}"));
        if (GuidanceScale is > 1
            && !Method.IsPolicyGradient) faults.Add($"guidance scale: {Method.Name} trains without guidance; leave it out");
        if (AllWeights && (Method.NeedsReference || ResolvedKlWeight > 0))
            faults.Add($"all weights: {Method.Name} compares with the model without adapters, which is gone when every weight is "
                + $"trained; train adapters");
        if (AllWeights && Dtype != Precision.Fp32) faults.Add(
            "dtype: weights that are trained are single precision, halves lose small steps; train adapters, or take fp32");
        foreach (var (name, size) in new[] { ("height", Sizes.Height), ("width", Sizes.Width), ("text tokens", Sizes.TextTokens) })
            if (size is < 1 or > 65_536) faults.Add($"{name}: expected 1 to 65536, got {size}");
        if (faults.Count > 0) throw new UserError($"artifacts: {string.Join("; ", faults)}");
    }
}

/// <summary>Sizes that a training graph is fixed to; null for the model's own.</summary>
/// <param name="Height">Height of the latents in cells; the model's own is sample_size of its config.json.</param>
/// <param name="Width">Width of the latents in cells.</param>
/// <param name="TextTokens">Tokens of the text states; a U-Net's stay open, an export's are its tokenizer's length, or what its text
/// encoder takes, or 77, a transformer's those of its pipeline.</param>
public sealed record DenoiserSizes(long? Height = null, long? Width = null, long? TextTokens = null);
