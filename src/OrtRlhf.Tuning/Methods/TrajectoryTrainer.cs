using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary><see cref="D3po"/>: every step of a preferred trajectory against the same step of the rejected one.</summary>
internal sealed class TrajectoryTrainer : IPreferenceTrainer
{
    private readonly TuningOptions options;
    private readonly bool rescores;
    private readonly PolicyGradientStep step;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="UserError">The model cannot be differentiated.</exception>
    public TrajectoryTrainer(TuningParts parts)
    {
        options = parts.Options;
        rescores = parts.Policy.Model.Dtype == Precision.Fp16;
        step = new PolicyGradientStep(
            parts.Policy, parts.Pipeline.Text, parts.Pipeline.GuidanceScale, options.MicroBatch,
            transition => D3po.Loss(transition, new() { Beta = options.Beta, ClipRange = options.ClipRange }), options.Session,
            withReference: options.Reference == PreferenceReference.Base, paired: true);
    }

    /// <inheritdoc/>
    public void Begin(int epoch, IReadOnlyList<PreferenceExample> examples, CancellationToken cancellation)
    {
        step.Reset();
        if (rescores) step.Rescore(Transitions(epoch, examples), cancellation);
    }

    /// <inheritdoc/>
    public StepMetrics Accumulate(int epoch, int pass, IReadOnlyList<PreferenceExample> examples, Gradients sum, CancellationToken cancellation) =>
        step.Accumulate(Transitions(epoch, examples), sum, 1, cancellation);

    /// <inheritdoc/>
    public void Dispose() => step.Dispose();

    // The same steps of both sides, where both have a density.
    private Transition[] Transitions(int epoch, IReadOnlyList<PreferenceExample> examples) =>
    [
        .. from example in examples
           let preferred = example.Preferred.Trajectory!
           let rejected = example.Rejected!.Trajectory!
           let weights = StepWeights.Of(preferred.Table!, options.StepWeighting)
           from s in PolicyGradientMethod.Steps(options, preferred, epoch)
           where rejected.Table!.Steps[s].HasDensity
           from side in (Trajectory[])[preferred, rejected]
           select new Transition(side, s, (float)(example.Weight * weights[s])),
    ];
}
