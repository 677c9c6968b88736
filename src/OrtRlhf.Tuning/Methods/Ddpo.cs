using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Policy gradient with a clipped importance ratio (Black et al., 2023).</summary>
public sealed record DdpoOptions : PolicyGradientOptions
{
    /// <inheritdoc/>
    public override string Method => "ddpo";

    /// <summary>
    /// Clip range of the ratio to the policy that sampled; log-probs are means over elements (published code: 1e-4 on Stable Diffusion).
    /// </summary>
    [Category(Learning), Range(0, 1.0, MinimumIsExclusive = true, MaximumIsExclusive = true)]
    public double ClipRange { get; init; } = 5e-4;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } =
        TrainingFileMethod.OfTransitions("ddpo", "mean_i max(-A r, -A clip(r, 1-c, 1+c)), r = exp(log_prob - old_log_prob)") with
        {
            ClipRange = new DdpoLossOptions().ClipRange,
            Write = (f, o) => Ddpo.Loss(TrainingFileMethod.Transition(f),
                new() { ClipRange = o.ResolvedClipRange, KlWeight = o.ResolvedKlWeight }),
        };

    internal override TrainingLoss Loss(PolicyTransition transition) =>
        Ddpo.Loss(transition, new() { ClipRange = ClipRange, AdvantageClip = AdvantageClip, KlWeight = KlWeight });
}
