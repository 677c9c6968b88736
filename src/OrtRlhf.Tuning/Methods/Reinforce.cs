using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Plain policy gradient, one update on fresh images.</summary>
public sealed record ReinforceOptions : PolicyGradientOptions
{
    /// <summary>On-policy: one update an epoch.</summary>
    public ReinforceOptions() => UpdatesPerPass = 1;

    /// <inheritdoc/>
    public override string Method => "reinforce";

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } = TrainingFileMethod.OfTransitions("reinforce", "-mean_i A log_prob") with
    {
        Write = (f, o) => Reinforce.Loss(TrainingFileMethod.Transition(f), new() { KlWeight = o.ResolvedKlWeight }),
    };

    internal override TrainingLoss Loss(PolicyTransition transition) =>
        Reinforce.Loss(transition, new() { AdvantageClip = AdvantageClip, KlWeight = KlWeight });
}
