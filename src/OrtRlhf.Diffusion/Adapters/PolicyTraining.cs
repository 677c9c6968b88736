using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>Policies as graphs that train their adapters.</summary>
internal static class PolicyTraining
{
    /// <summary>
    /// The training graph of one micro-batch of B rows: denoiser with guidance on a batch of 2B exactly as the sampler runs it, loss, and
    /// the
    /// gradients of all adapters. Outputs: <c>loss</c>, the loss's metrics, <c>NAME_grad</c> for each adapter; loss and gradients are times
    /// <c>loss_scale</c>, an
    /// input, where the model computes in halves.
    /// </summary>
    /// <param name="policy">Model and adapters.</param>
    /// <param name="batch">B.</param>
    /// <param name="guidanceScale">g.</param>
    /// <param name="withReference">Whether the loss compares with the model without adapters, which a second forward pass on the same
    /// weights computes.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="gradients">How it is differentiated.</param>
    public static OnnxGraph TrainingGraphOf(this Policy policy, int batch, double guidanceScale, bool withReference,
        Func<GuidedOutput, TrainingLoss> loss, GradientOptions gradients)
    {
        var guided = guidanceScale != 1;
        var (graph, layers) = policy.Denoiser(guided ? 2 * batch : batch, withReference, guided);
        var x = graph["sample"];
        return TrainingGraph.Build(
            new(graph.Outputs[0], guided ? x.Slice(0, 0, batch) : x, withReference ? graph.Outputs[1] : null), guidanceScale, loss,
            [.. layers.SelectMany(l => new[] { l.A, l.B })], gradients, isScaled: policy.Model.Dtype == Precision.Fp16);
    }
}
