using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>A loss, its metrics and the parameters it is differentiated by, as one graph that gives them and the gradients.</summary>
public static class TrainingGraph
{
    /// <summary>Suffix of a gradient's output: the gradient of <c>p</c> is <c>p_grad</c>.</summary>
    public const string GradientSuffix = "_grad";

    /// <summary>
    /// Adds the gradients of a loss by all given parameters, and makes loss, metrics and gradients the graph's outputs, in this order.
    /// Parameters lose their defaults: they must be bound.
    /// </summary>
    public static OnnxGraph Finish(Value loss, IReadOnlyList<Value> parameters, params IReadOnlyList<(string Name, Value Value)> metrics) =>
        Finish(loss, parameters, new GradientOptions(), metrics);

    /// <inheritdoc cref="Finish(Value, IReadOnlyList{Value}, IReadOnlyList{ValueTuple{string, Value}})"/>
    public static OnnxGraph Finish(Value loss, IReadOnlyList<Value> parameters, GradientOptions options, params IReadOnlyList<(string Name, Value Value)> metrics)
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
