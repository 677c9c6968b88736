using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Makes one node, ONNX Runtime's <c>com.microsoft.MultiHeadAttention</c>, of each attention whose probabilities nobody reads, as in
/// inference: its kernel for the
/// CPU goes through the scores block by block and keeps none. Attention with a mask, or in half precision, stays. Ensures: the same outputs
/// within rounding.
/// Requires: a session that is to run on ONNX Runtime; files for others keep to ONNX's own operators.
/// </summary>
public static class FuseAttention
{
    private static readonly long[] HeadsFirst = [0, 2, 1, 3];

    /// <summary>Applies the pass.</summary>
    /// <returns>How many attentions were fused.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var (readers, count) = (graph.Readers(), 0);
        graph.Rewrite(node =>
        {
            if (!Fits(node, graph, readers)) return false;
            using var scope = graph.Scope(node.Name.TrimStart('/'));
            var (of, heads, width) = (node.Output.Shape!, node.Output.Shape![1].Size, node.Output.Shape[3].Size);
            Value[] inputs = [.. node.Inputs.Select(x => Joined(x!))];
            var o = graph.Op("MultiHeadAttention", "com.microsoft", 1, inputs, ("num_heads", heads),
                ("scale", node.Attribute("scale", 1f)))[0];
            (o.Type, o.Shape) = (node.Output.Type, new Shape([of[0], of[2], heads * width]));
            graph.Redirect(node.Output, o.Reshape(0, 0, heads, width).Transpose(HeadsFirst), readers);
            count++;
            return true;
        });
        graph.RemoveUnused();
        return count;
    }

    private static bool Fits(Node node, OnnxGraph graph, IReadOnlyDictionary<Value, List<Node>> readers) =>
        node is { Op: "Attention", Domain: OnnxGraph.CompositeDomain, Output: { Type: ElementType.Float, Shape: { } of } }
            && node.Input(3) is null
        && node.Inputs.Take(3).All(x =>
            x!.Shape is { Rank: 4 } shape && shape[0] == of[0] && shape[1] == of[1] && shape[1].IsKnown && shape[3].IsKnown)
        && node.Outputs.Skip(1).All(p => p is null || (!graph.Outputs.Contains(p) && !readers.ContainsKey(p)));

    /// <summary>[B, heads, S, width] as [B, S, heads*width]; the exchange of the axes that made it so is passed by.</summary>
    private static Value Joined(Value x)
    {
        var rows = Patterns.Made(x, "Transpose") is { } node && node.Attributes.GetValueOrDefault("perm") is long[] perm
            && perm.SequenceEqual(HeadsFirst) ? node.Inputs[0]! : x.Transpose(HeadsFirst);
        return rows.Reshape(0, 0, x.Shape![1].Size * x.Shape[3].Size);
    }
}
