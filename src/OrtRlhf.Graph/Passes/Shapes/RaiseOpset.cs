namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Raises a model of operator sets 13 to 16 to 17, which the gradients are written in. No operator that either has changed its meaning
/// between
/// them. Newer models stay as they are.
/// </summary>
public static class RaiseOpset
{
    private const int Oldest = 13, Ours = 17, Newest = 21;

    /// <summary>Applies the pass.</summary>
    /// <exception cref="UserError">The operator set is too old or too new.</exception>
    public static void Apply(OnnxGraph graph)
    {
        if (graph.Opset is < Oldest or > Newest) throw new UserError(
            $"model '{graph.Name}': operator set {graph.Opset}; expected {Oldest} to {Newest}, export it with opset {Ours}");
        graph.Opset = Math.Max(graph.Opset, Ours);
    }
}
