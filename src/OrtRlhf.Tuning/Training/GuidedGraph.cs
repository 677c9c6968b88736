using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Tuning.Training;

/// <summary>What a loss is written on: values of a training graph, [B,C,H,W].</summary>
/// <param name="Output">m, the policy's output, guided.</param>
/// <param name="X">The latents it was given.</param>
/// <param name="Reference">The model's output without adapters, guided; null where the loss needs none.</param>
internal sealed record GuidedOutput(Value Output, Value X, Value? Reference);

/// <summary>
/// The training graph of one micro-batch of B rows: denoiser with guidance on a batch of 2B exactly as <see cref="GuidedDenoiser"/> runs it, loss, and the
/// gradients of all adapters.
/// </summary>
internal static class GuidedGraph
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
    /// <param name="withReference">Whether the loss compares with the model without adapters, which a second forward pass on the same weights computes.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="gradients">How it is differentiated.</param>
    public static OnnxGraph Build(Policy policy, int batch, double guidanceScale, bool withReference, Func<GuidedOutput, TrainingLoss> loss, GradientOptions gradients)
    {
        var guided = guidanceScale != 1;
        var (graph, layers) = policy.Denoiser(guided ? 2 * batch : batch, withReference, guided);
        var x = graph["sample"];
        if (guided) x = x.Slice(0, 0, batch);
        var written = loss(new(Guided(graph.Outputs[0]), x, withReference ? Guided(graph.Outputs[1]) : null));
        var scaled = policy.Model.Dtype == Precision.Fp16 ? written.Loss * graph.Input(LossScale, ElementType.Float) : written.Loss;
        return TrainingGraph.Finish(scaled, [.. layers.SelectMany(l => new[] { l.A, l.B })], gradients, [.. written.Metrics.Select(p => (p.Key, p.Value))]);

        Value Guided(Value both)
        {
            if (!guided) return both;
            var (u, c) = (both.Slice(0, 0, batch), both.Slice(0, batch, 2 * batch));
            return u + ((c - u) * guidanceScale);
        }
    }
}
