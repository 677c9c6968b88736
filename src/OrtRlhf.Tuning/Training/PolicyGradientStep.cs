using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Tuning.Training;

/// <summary>Gradients of a policy-gradient loss over any number of transitions; see <see cref="TrainingStep"/>.</summary>
public sealed class PolicyGradientStep : IDisposable
{
    private readonly TrainingStep _step;

    /// <summary>Builds the training graph and loads it.</summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="text">Embeddings of the prompts.</param>
    /// <param name="guidanceScale">The guidance that the trajectories were sampled with.</param>
    /// <param name="microBatch">Transitions that the workers run together.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="settings">Device, threads, workers.</param>
    /// <param name="withReference">Whether the loss takes the output without adapters.</param>
    /// <param name="paired">As in <see cref="TrainingStep"/>.</param>
    /// <exception cref="UserError">The graph cannot be differentiated or run.</exception>
    public PolicyGradientStep(
        Policy policy, TextEmbeddings text, double guidanceScale, int microBatch, Func<PolicyTransition, TrainingLoss> loss,
            SessionSettings settings, bool withReference = false, bool paired = false) =>
        _step = new(policy, text, guidanceScale != 1, microBatch, ["advantage", "weight"],
            batch => policy.TrainingGraphOf(batch, guidanceScale, withReference, output => loss(Transitions(output)), settings.Gradients),
                settings, paired);

    /// <summary>Adds the gradient of the mean loss over all transitions, times a weight, to a sum.</summary>
    /// <inheritdoc cref="TrainingStep.Accumulate"/>
    /// <param name="transitions">At least one.</param>
    /// <param name="sum">Receives the gradient.</param>
    /// <param name="weight">What the mean is multiplied by.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    public StepMetrics Accumulate(IReadOnlyList<Transition> transitions, Gradients sum, double weight = 1,
        CancellationToken cancellation = default) =>
        _step.Accumulate([.. transitions.Select(t => t.ToRow())], sum, weight, cancellation);

    /// <summary>
    /// Takes the log-probabilities of transitions anew, by the training graph, and keeps them as those of the policy that drew them. In
    /// halves the sampler's graph
    /// rounds so differently that ratios would begin percents away from 1.
    /// </summary>
    /// <param name="transitions">Transitions of the policy as it is now.</param>
    /// <param name="cancellation">Stops between micro-batches.</param>
    public void Rescore(IReadOnlyList<Transition> transitions, CancellationToken cancellation)
    {
        var logp = _step.PerRow([.. transitions.Select(t => t.ToRow())], "log_prob", cancellation);
        foreach (var (i, transition) in transitions.Index()) transition.Trajectory.LogProbs[transition.Step] = logp[i];
    }

    /// <inheritdoc cref="TrainingStep.Reset"/>
    public void Reset() => _step.Reset();

    /// <inheritdoc/>
    public void Dispose() => _step.Dispose();

    private static PolicyTransition Transitions(GuidedOutput o)
    {
        var transition = PolicyTransition.Inputs(o.Output, o.X, withReference: false);
        return o.Reference is null ? transition
            : transition with { Reference = o.Reference, Weight = o.Output.Graph.Input("weight", ElementType.Float, o.Output.Sizes[0]) };
    }
}
