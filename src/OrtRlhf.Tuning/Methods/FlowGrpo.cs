using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>The same as ddpo in groups of a prompt's images, with a KL term (Liu et al., 2025); for flows and diffusion models.</summary>
public sealed record FlowGrpoOptions : PolicyGradientOptions
{
    /// <summary>Groups of eight; early steps count as much as late ones.</summary>
    public FlowGrpoOptions()
    {
        Epochs = 140;
        PromptsPerEpoch = 16;
        AdvantageBaseline = AdvantageBaseline.Group;
        StepWeighting = StepWeighting.Noise;
    }

    /// <inheritdoc/>
    public override string Method => "flow-grpo";

    /// <inheritdoc cref="DdpoOptions.ClipRange"/>
    [Category(Learning), Range(0, 1.0, MinimumIsExclusive = true, MaximumIsExclusive = true)]
    public double ClipRange { get; init; } = 5e-4;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } = TrainingFileMethod.OfTransitions("flow-grpo",
        "mean_i max(-A r, -A clip(r, 1-c, 1+c)) + w*KL, r = exp(log_prob - old_log_prob), KL = mean_i mean (mu - mu_ref)^2 / (2 sigma^2)") with
    {
        ClipRange = new FlowGrpoLossOptions().ClipRange,
        KlWeight = new FlowGrpoLossOptions().KlWeight,
        Write = (f, o) => FlowGrpo.Loss(TrainingFileMethod.Transition(f),
            new() { ClipRange = o.ResolvedClipRange, KlWeight = o.ResolvedKlWeight }),
    };

    internal override TrainingLoss Loss(PolicyTransition transition) =>
        FlowGrpo.Loss(transition, new() { ClipRange = ClipRange, AdvantageClip = AdvantageClip, KlWeight = KlWeight });
}
