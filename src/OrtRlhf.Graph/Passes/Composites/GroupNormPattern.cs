using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Reshape [B,G,-1], InstanceNormalization by one and zero, Reshape to the shape before, Mul and Add by channel; or ONNX's own operator
/// with a scale for each
/// channel, which runtimes take to pieces.
/// </summary>
internal static class GroupNormPattern
{
    public static Func<Value>? Match(Node add, Patterns patterns)
    {
        foreach (var (product, bias) in Patterns.Both(add))
        {
            if (patterns.Inner(product, "Mul") is not { } mul) continue;
            foreach (var (back, scale) in Patterns.Both(mul))
            {
                if (patterns.Inner(back, "Reshape") is not { } reshape
                    || patterns.Inner(reshape.Inputs[0], "InstanceNormalization") is not { } norm) continue;
                if (Patterns.Made(norm.Inputs[0], "Reshape") is not { } group || group.Inputs[0] is not { } x
                    || !Patterns.IsAll(norm.Inputs[1], 1) || !Patterns.IsAll(norm.Inputs[2], 0)) continue;
                if (x.Shape is not { Rank: >= 3 } shape || !shape[1].IsKnown || group.Output.Shape is not { Rank: 3 } grouped
                    || !grouped[1].IsKnown || grouped[0] != shape[0]) continue;
                var returns = back.Shape is { } s && s.Equals(shape) || Patterns.Made(reshape.Inputs[1], "Shape")?.Inputs[0] == x;
                if (!returns || shape[1].Size % grouped[1].Size != 0 || !ByChannel(scale, shape) || !ByChannel(bias, shape)) continue;
                return () => Functions.GroupNorm(x, Channels(scale, shape), Channels(bias, shape), grouped[1].Size,
                    norm.Attribute("epsilon", 1e-5f));
            }
        }
        return null;
    }

    public static Func<Value>? Match(Node node) => node.Inputs[0]!.Shape is { Rank: >= 3 } shape && shape[1].IsKnown
        && node.Inputs.Skip(1).All(v => v!.Shape is { Rank: 1 } s && s[0] == shape[1])
        ? () => Functions.GroupNorm(node.Inputs[0]!, node.Inputs[1]!, node.Inputs[2]!, node.Attribute("num_groups", 1L),
            node.Attribute("epsilon", 1e-5f))
        : null;

    /// <summary>Whether a value has one number for each channel of [B,C,...]: [C,1,1] or with further ones in front.</summary>
    private static bool ByChannel(Value value, Shape x) => value.Shape is { IsStatic: true } s && s.Rank >= x.Rank - 1 && s.Rank <= x.Rank
        && s.Count == x[1].Size && s[1 - x.Rank] == x[1];

    private static Value Channels(Value value, Shape x) => value.IsConstant
        ? value.Graph.Constant(value.Data!.Reshaped(x[1].Size))
        : value.Reshape(x[1].Size);
}
