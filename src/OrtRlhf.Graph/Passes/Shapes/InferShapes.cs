namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Infers the type and shape of every value from the inputs and constants on. Requires: nodes in topological order. Ensures: each value of
/// an operator
/// that we know has a type; its shape where the operator's inputs tell it.
/// </summary>
public static class InferShapes
{
    /// <summary>Applies the pass.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="keepKnown">Whether sizes that are known already stay where inference does not find any (as a file said them).</param>
    /// <exception cref="UserError">Shapes do not fit an operator.</exception>
    public static void Apply(OnnxGraph graph, bool keepKnown = false)
    {
        foreach (var node in graph.Nodes) Infer(node, keepKnown);
    }

    /// <summary>Infers one node's outputs anew.</summary>
    internal static void Infer(Node node, bool keepKnown = false)
    {
        if (!OperatorShapes.Knows(node)) return;
        var before = node.Outputs.Select(o => o?.Shape).ToArray();
        foreach (var output in node.Outputs.OfType<Value>()) output.Shape = null;
        Checked(node, () =>
        {
            OperatorShapes.Infer(node);
            return 0;
        });
        if (!keepKnown) return;
        for (var i = 0; i < before.Length; i++)
            if (node.Outputs[i] is { } output) output.Shape = Merged(output.Shape, before[i]);
    }

    /// <summary>
    /// Runs what reads a node as its operator is defined; one that is not like that, from a file that may come from anywhere, is refused.
    /// </summary>
    internal static T Checked<T>(Node node, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception fault) when (
            fault is IndexOutOfRangeException or ArgumentException or NullReferenceException or InvalidCastException or InvalidOperationException or ArithmeticException)
        {
            throw new UserError($"{node}: inputs or attributes do not fit the operator ({fault.Message.ReplaceLineEndings(" ")})", fault);
        }
    }

    private static Shape? Merged(Shape? inferred, Shape? said) =>
        inferred is null || (said is not null && inferred.Rank != said.Rank) ? said ?? inferred
        : said is null ? inferred : new Shape(Enumerable.Range(0, said.Rank).Select(i =>
            inferred[i].IsKnown ? inferred[i] : said[i].IsKnown ? said[i] : inferred[i]));
}
