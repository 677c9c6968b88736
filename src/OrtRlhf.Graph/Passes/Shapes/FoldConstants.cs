namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Computes what does not depend on inputs: shape arithmetic above all. Takes Identity nodes away. Only operations whose results are exact
/// or correctly
/// rounded are computed, so that a folded model gives the numbers of the original. Requires: nodes in topological order. Ensures: shapes
/// are
/// inferred from the folded values; with static inputs those of all values that shape arithmetic decides are static.
/// </summary>
public static class FoldConstants
{
    // A file of anyone may ask for any number of constants; shape arithmetic needs few.
    private const long LargestSum = 1 << 24;

    /// <summary>Applies the pass.</summary>
    /// <exception cref="UserError">Shapes do not fit an operator.</exception>
    public static void Apply(OnnxGraph graph)
    {
        var replaced = new Dictionary<Value, Value>();
        var outputs = graph.Outputs.ToHashSet();
        var left = LargestSum;
        graph.Rewrite(node =>
        {
            node.Substitute(value => replaced.GetValueOrDefault(value, value));
            InferShapes.Infer(node);
            if (node.Domain.Length > 0 || node.Outputs.Any(o => o is not null && outputs.Contains(o))) return false;
            if (InferShapes.Checked(node, () => PassedThrough(node)) is { } same)
            {
                replaced[node.Output] = same;
                return true;
            }
            if (left < 0 || InferShapes.Checked(node, () => ConstantEvaluation.Of(node)) is not { } data) return false;
            if (data.IsInMemory) left -= data.Count;
            (node.Output.Data, node.Output.Producer) = (data, null);
            (node.Output.Type, node.Output.Shape) = (data.Type, data.Shape);
            if (node.Op == "Transpose" && !graph.Values.ContainsKey(node.Inputs[0]!.Name + ".T")) graph.Rename(node.Output,
                node.Inputs[0]!.Name + ".T");
            return true;
        });
        graph.RemoveUnused();
    }

    /// <summary>The input that a node gives on as it is.</summary>
    private static Value? PassedThrough(Node node) => node.Op switch
    {
        "Identity" => node.Input(0),
        "Dropout" when node.Outputs.Skip(1).All(o => o is null)
            && (node.Input(2) is not { } training || ShapeRules.Integers(training) is [0]) => node.Input(0),
        "Cast" when node.Input(0) is { Type: not ElementType.Undefined } x && (long)x.Type == node.Attribute("to", 0L) => x,
        _ => null,
    };
}
