using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>What a training graph that is written to a file computes.</summary>
public sealed record TrainingFileOptions
{
    /// <summary>Name of the method, one of <see cref="TrainingFileMethod.All"/>.</summary>
    public required string Method { get; init; }

    /// <summary>B, rows of <c>sample</c>, at least 1; even for methods that compare pairs.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>Which layers are adapted, rank and alpha.</summary>
    public LoraOptions Lora { get; init; } = new();

    /// <summary>Whether every weight of the model is trained, instead of adapters.</summary>
    public bool AllWeights { get; init; }

    /// <summary>
    /// Scale of classifier-free guidance, at least 1, with the gradient through both branches; 1 for none. Null for the method's default: 5 for policy gradients
    /// of models that take text, as DDPO; none for others.
    /// </summary>
    public double? GuidanceScale { get; init; }

    /// <summary>Half width of the ratio's trust region, (0, 1). Null for the method's default: 1e-4 of ddpo and flow-grpo, 0.1 of d3po.</summary>
    public double? ClipRange { get; init; }

    /// <summary>Weight of the KL divergence to the reference of policy gradients, at least 0; default 0.</summary>
    public double KlWeight { get; init; }

    /// <summary>beta of d3po, dpo, ipo and kto, &gt; 0. Null for the method's default: 0.1 of d3po, 2000 of the others.</summary>
    public double? Beta { get; init; }

    /// <summary>Sizes of the inputs, where they are not the model's own.</summary>
    public DenoiserSizes Sizes { get; init; } = new();

    /// <summary>Seed of the adapters' initial values.</summary>
    public ulong Seed { get; init; }

    /// <summary>Precision that the model's weights lie in; all is computed in single precision whatever it is. Default single.</summary>
    public Precision Dtype { get; init; }

    internal double ResolvedClipRange => ClipRange ?? (Method == "d3po" ? new D3poOptions().ClipRange : new DdpoOptions().ClipRange);

    internal double ResolvedBeta => Beta ?? (Method == "d3po" ? new D3poOptions().Beta : 2000);

    /// <summary>Checks what no other record checks.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate()
    {
        var faults = new List<string>();
        var method = TrainingFileMethod.All.FirstOrDefault(m => m.Name == Method);
        if (method is null) faults.Add($"method: expected {string.Join(", ", TrainingFileMethod.All.Select(m => m.Name))}, got '{Method}'");
        if (BatchSize is < 1 or > 65_536) faults.Add($"batch size: expected 1 to 65536, got {BatchSize}");
        if (method is { IsPaired: true } && BatchSize % 2 != 0)
            faults.Add($"batch size: {Method} compares pairs, the preferred samples first and then the rejected ones; expected an even number, got {BatchSize}");
        if (GuidanceScale is { } scale && !(scale >= 1 && double.IsFinite(scale))) faults.Add(FormattableString.Invariant($"guidance scale: expected at least 1, got {scale}"));
        if (GuidanceScale is > 1 && method is { IsPolicyGradient: false }) faults.Add($"guidance scale: {Method} trains without guidance; leave it out");
        if (KlWeight != 0 && method is { IsPolicyGradient: false } or { IsPaired: true }) faults.Add($"KL weight: {Method} has none; leave it out");
        if (AllWeights && (method is { NeedsReference: true } || KlWeight != 0))
            faults.Add($"all weights: {Method} compares with the model without adapters, which is gone when every weight is trained; train adapters");
        if (AllWeights && Dtype != Precision.Fp32) faults.Add("dtype: weights that are trained are single precision, halves lose small steps; train adapters, or take fp32");
        foreach (var (name, size) in new[] { ("height", Sizes.Height), ("width", Sizes.Width), ("text tokens", Sizes.TextTokens) })
            if (size is < 1 or > 65_536) faults.Add($"{name}: expected 1 to 65536, got {size}");
        if (faults.Count > 0) throw new UserError($"artifacts: {string.Join("; ", faults)}");
    }
}
