namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Finds what exporters spell out, and puts in its place what has a gradient of its own: group normalisation (InstanceNormalization over
/// reshaped
/// groups), layer normalisation (means and a square root), attention (MatMul, Softmax, MatMul; scaled on one side, both, or between), SiLU
/// and GELU, chunks (Slices that are
/// all of a value). Requires: nodes in topological order, constants folded; shapes may be open. Ensures: the same outputs within rounding.
/// </summary>
public static class RecognizeComposites
{
    /// <summary>Applies the pass.</summary>
    /// <returns>How many were found.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var found = SlicePattern.Apply(graph);
        var patterns = new Patterns(graph);
        graph.Rewrite(node =>
        {
            if (node.Domain.Length > 0 || InferShapes.Checked(node, () => Match(node, patterns)) is not { } make) return false;
            using var scope = graph.Scope(node.Name.LastIndexOf('/') is > 0 and var end ? node.Name[..end] : "/");
            graph.Redirect(node.Output, make(), patterns.Readers);
            found++;
            return true;
        });
        graph.RemoveUnused();
        return found;
    }

    private static Func<Value>? Match(Node node, Patterns patterns) => node.Op switch
    {
        "Add" => GroupNormPattern.Match(node, patterns) ?? LayerNormPattern.Match(node, patterns),
        "Mul" => ActivationPattern.Match(node, patterns),
        "MatMul" => AttentionPattern.Match(node, patterns),
        "LayerNormalization" => LayerNormPattern.Match(node),
        "GroupNormalization" => GroupNormPattern.Match(node),
        _ => null,
    };
}
