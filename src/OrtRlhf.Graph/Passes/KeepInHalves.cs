using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Makes a single-precision model a half-precision one from outside: weights, inputs and outputs are halves, and all between is computed in single
/// precision, for models whose activations pass what halves can hold. Ensures: the outputs of single precision, within the rounding of the weights.
/// </summary>
public static class KeepInHalves
{
    /// <summary>Applies the pass. Constants of one element stay as they are.</summary>
    public static void Apply(OnnxGraph graph)
    {
        foreach (var weight in graph.Constants.Where(c => c is { Type: ElementType.Float, Data.Count: > 1 }).ToList())
        {
            var name = weight.Name;
            graph.Rename(weight, name + " in float");
            graph.Redirect(weight, Functions.Cast(graph.Constant(weight.Data!.As(ElementType.Float16), name), ElementType.Float));
        }
        foreach (var input in graph.Inputs.Where(i => i.Type == ElementType.Float).ToList()) Boundary.Take(graph, input, ElementType.Float16);
        foreach (var output in graph.Outputs.Where(o => o.Type == ElementType.Float).ToList()) Boundary.Give(graph, output, ElementType.Float16);
        graph.Sort();
        graph.RemoveUnused();
    }
}
