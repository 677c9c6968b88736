namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Makes one node of what scales and shifts the channels of [B,C,...], as group normalisation ends: BatchNormalization of mean 0 and
/// variance 1, one pass over memory
/// in place of two. Requires: composites lowered; ONNX Runtime's kernel for the CPU takes one thread. Ensures: the same outputs within
/// rounding.
/// </summary>
public static class FuseChannelAffine
{
    /// <summary>Applies the pass.</summary>
    /// <returns>How many pairs were fused.</returns>
    public static int Apply(OnnxGraph graph)
    {
        var (patterns, count) = (new Patterns(graph), 0);
        graph.Rewrite(node =>
        {
            if (node is not { Op: "Add", Domain.Length: 0, Output: { Type: ElementType.Float, Shape: { Rank: > 2 } shape } }
                || !shape[1].IsKnown) return false;
            foreach (var (product, bias) in Patterns.Both(node))
            {
                if (patterns.Inner(product, "Mul") is not { } mul || PerChannel(bias, shape) is not { } shift) continue;
                foreach (var (x, factor) in Patterns.Both(mul))
                {
                    if (x.Shape is not { } own || own.Rank != shape.Rank || own[1] != shape[1]
                        || PerChannel(factor, shape) is not { } scale) continue;
                    using var scope = graph.Scope(node.Name.TrimStart('/'));
                    var (zeros, ones) = (new float[shape[1].Size], new float[shape[1].Size]);
                    Array.Fill(ones, 1f);
                    Value[] inputs = [x, graph.Constant(scale), graph.Constant(shift), graph.Constant(Tensor.Of(zeros, zeros.Length)),
                        graph.Constant(Tensor.Of(ones, ones.Length))];
                    var y = graph.Op("BatchNormalization", inputs, ("epsilon", 0f));
                    (y.Type, y.Shape) = (node.Output.Type, shape);
                    graph.Redirect(node.Output, y, patterns.Readers);
                    count++;
                    return true;
                }
            }
            return false;
        });
        graph.RemoveUnused();
        return count;
    }

    /// <summary>A constant with a number for each channel, [C,1,1], as a vector; null for any other value.</summary>
    private static Tensor? PerChannel(Value value, Shape of)
    {
        var constant = Patterns.Made(value, "Unsqueeze")?.Inputs[0] ?? value;
        if (constant is not { IsConstant: true, Type: ElementType.Float, Data: { } data }
            || value.Shape is not { IsStatic: true } shape) return null;
        return shape.Rank == of.Rank - 1 && shape[0] == of[1] && data.Count == of[1].Size ? data.Reshaped([data.Count]) : null;
    }
}
