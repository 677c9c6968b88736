using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Learning.Algorithms;
using OrtRlhf.Tuning.Sampling;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// The training graph of a policy gradient for one micro-batch of B transitions: denoiser with guidance on a batch of 2B exactly as
/// <see cref="GuidedDenoiser"/> runs it, loss, and the gradients of all adapters.
/// </summary>
internal static class PolicyGradientGraph
{
    /// <summary>Input by which loss and gradients are multiplied where the model computes in halves.</summary>
    public const string LossScale = "loss_scale";

    /// <summary>
    /// Builds the graph. Outputs: <c>loss</c>, the loss's metrics, <c>NAME_grad</c> for each adapter; loss and gradients are times <c>loss_scale</c>, an input, where
    /// the model computes in halves.
    /// </summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="batch">B.</param>
    /// <param name="guidanceScale">g.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="gradients">How it is differentiated.</param>
    public static OnnxGraph Build(Policy policy, int batch, double guidanceScale, Func<PolicyTransition, TrainingLoss> loss, GradientOptions gradients)
    {
        var guided = guidanceScale != 1;
        var (graph, layers) = policy.Denoiser(guided ? 2 * batch : batch);
        var (x, m) = (graph["sample"], graph.Outputs[0]);
        if (guided)
        {
            x = x.Slice(0, 0, batch);
            var (u, c) = (m.Slice(0, 0, batch), m.Slice(0, batch, 2 * batch));
            m = u + ((c - u) * guidanceScale);
        }
        var written = loss(PolicyTransition.Inputs(m, x, withReference: false));
        var scaled = policy.Model.Dtype == Precision.Fp16 ? written.Loss * graph.Input(LossScale, ElementType.Float) : written.Loss;
        return TrainingGraph.Finish(scaled, [.. layers.SelectMany(l => new[] { l.A, l.B })], gradients, [.. written.Metrics.Select(p => (p.Key, p.Value))]);
    }
}
