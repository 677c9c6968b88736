using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Makes a single-precision model a half-precision one from outside: weights, inputs and outputs are halves, and all between is computed in
/// single
/// precision, for models whose activations pass what halves can hold. Ensures: the outputs of single precision, within the rounding of the
/// weights.
/// </summary>
public static class KeepInHalves
{
    private const long Small = 1 << 20;

    /// <summary>Applies the pass. Constants of one element, and small ones beyond halves, such as masks, stay as they are.</summary>
    /// <exception cref="UserError">When a large weight is read: it has numbers beyond what halves hold.</exception>
    public static void Apply(OnnxGraph graph)
    {
        var readers = graph.Readers();
        foreach (var weight in graph.Constants.Where(c => c is { Type: ElementType.Float, Data.Count: > 1 } && !IsBeyond(c.Data)).ToList())
        {
            var name = weight.Name;
            graph.Rename(weight, name + " in float");
            graph.Redirect(weight, Functions.Cast(graph.Constant(weight.Data!.InHalves(name), name), ElementType.Float), readers);
        }
        foreach (var input in graph.Inputs.Where(i => i.Type == ElementType.Float).ToList()) Boundary.Take(graph, input,
            ElementType.Float16);
        foreach (var output in graph.Outputs.Where(o => o.Type == ElementType.Float).ToList()) Boundary.Give(graph, output,
            ElementType.Float16);
        graph.Sort();
        graph.RemoveUnused();

        static bool IsBeyond(Tensor data) => data.Count <= Small && data.ToFloats().Any(v => Math.Abs(v) > 65504);
    }
}
