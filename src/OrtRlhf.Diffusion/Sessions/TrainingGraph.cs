using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>What a loss is written on: values of a training graph, [B,C,H,W].</summary>
/// <param name="Output">m, the policy's output, guided.</param>
/// <param name="X">The latents it was given.</param>
/// <param name="Reference">The model's output without adapters, guided; null where the loss needs none.</param>
internal sealed record GuidedOutput(Value Output, Value X, Value? Reference);

/// <summary>A loss, its metrics and the parameters it is differentiated by, as one graph that gives them and the gradients.</summary>
public static class TrainingGraph
{
    /// <summary>Suffix of a gradient's output: the gradient of <c>p</c> is <c>p_grad</c>.</summary>
    public const string GradientSuffix = "_grad";

    /// <summary>Input by which loss and gradients are multiplied where the model computes in halves.</summary>
    internal const string LossScale = "loss_scale";

    /// <summary>Guidance, loss and the gradients of all parameters, as outputs of a denoiser's graph.</summary>
    /// <param name="unguided">Its values; the outputs have 2B rows where there is guidance, the first B without a prompt.</param>
    /// <param name="guidanceScale">g.</param>
    /// <param name="loss">Writes the loss.</param>
    /// <param name="parameters">What it is differentiated by.</param>
    /// <param name="gradients">How it is differentiated.</param>
    /// <param name="isScaled">Whether there is a <c>loss_scale</c>.</param>
    internal static OnnxGraph Build(
        GuidedOutput unguided, double guidanceScale, Func<GuidedOutput, TrainingLoss> loss, IReadOnlyList<Value> parameters,
            GradientOptions gradients, bool isScaled = false)
    {
        var batch = unguided.X.Shape!.Dims[0].Size;
        var written = loss(unguided with
        {
            Output = Guided(unguided.Output),
            Reference = unguided.Reference is { } reference
            ? Guided(reference) : null
        });
        var scaled = isScaled ? written.Loss * unguided.X.Graph.Input(LossScale, ElementType.Float) : written.Loss;
        return Finish(scaled, parameters, gradients, [.. written.Metrics.Select(p => (p.Key, p.Value))]);

        Value Guided(Value both)
        {
            if (guidanceScale == 1) return both;
            var (u, c) = (both.Slice(0, 0, batch), both.Slice(0, batch, 2 * batch));
            return u + ((c - u) * guidanceScale);
        }
    }

    /// <summary>
    /// Adds the gradients of a loss by all given parameters, and makes loss, metrics and gradients the graph's outputs, in this order.
    /// Parameters lose their defaults: they must be bound.
    /// </summary>
    public static OnnxGraph Finish(Value loss, IReadOnlyList<Value> parameters, params IReadOnlyList<(string Name, Value Value)> metrics) =>
        Finish(loss, parameters, new GradientOptions(), metrics);

    /// <inheritdoc cref="Finish(Value, IReadOnlyList{Value}, IReadOnlyList{ValueTuple{string, Value}})"/>
    public static OnnxGraph Finish(Value loss, IReadOnlyList<Value> parameters, GradientOptions options,
        params IReadOnlyList<(string Name, Value Value)> metrics)
    {
        var graph = loss.Graph;
        graph.Outputs.Clear();
        graph.Output(loss, "loss");
        foreach (var (name, value) in metrics) graph.Output(value, name);
        if (options.SplitLayers)
        {
            SplitUpsampling.Apply(graph);
            SplitGates.Apply(graph);
        }
        var gradients = GradientBuilder.Add(loss, parameters, options);
        foreach (var parameter in parameters)
        {
            graph.Output(gradients[parameter], parameter.Name + GradientSuffix);
            parameter.Data = null;
        }
        return graph;
    }
}
