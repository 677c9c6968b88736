using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// softmax(q k^T) v. The scale may stand at q, at k, at both, or behind the product (times or divided by a number); a mask is added last.
/// </summary>
internal static class AttentionPattern
{
    public static Func<Value>? Match(Node product, Patterns patterns)
    {
        if (patterns.Inner(product.Inputs[0], "Softmax") is not { } softmax
            || softmax.Output.Shape is not { Rank: >= 2 } shape) return null;
        if (shape.Axis(softmax.Attribute("axis", -1L)) != shape.Rank - 1) return null;
        var (scores, mask) = (softmax.Inputs[0], (Value?)null);
        if (patterns.Inner(scores, "Add") is { } add)
        {
            mask = Patterns.Both(add).Where(p => Scaled(p.First, patterns, out _) is { Producer.Op: "MatMul" }
                && Broadcasts(p.Second, shape)).Select(p => p.Second).FirstOrDefault();
            if (mask is null) return null;
            scores = Patterns.Other(add, mask);
        }
        if (patterns.Inner(Scaled(scores, patterns, out var scale), "MatMul") is not { } matmul) return null;
        var q = Scaled(matmul.Inputs[0], patterns, out var left)!;
        var k = Scaled(matmul.Inputs[1], patterns, out var right)!;
        var v = product.Inputs[1]!;
        if (!SameBatch(q, v, shape) || !SameBatch(k, v, shape)) return null;
        return () => Functions.Attention(q, Turned(k), v, scale * left * right, mask);
    }

    /// <summary>A value without the numbers that it is multiplied with or divided by.</summary>
    private static Value? Scaled(Value? value, Patterns patterns, out double scale)
    {
        scale = 1;
        if (patterns.Inner(value, "Mul") is { } mul)
        {
            foreach (var (x, by) in Patterns.Both(mul))
            {
                if (Patterns.Number(by) is not { } number || by.Shape is { } s && x.Shape is { } sx && s.Rank > sx.Rank) continue;
                scale = number;
                return x;
            }
        }
        if (patterns.Inner(value, "Div") is { } div && Patterns.Number(div.Inputs[1]) is { } divisor and not 0)
        {
            scale = 1 / divisor;
            return div.Inputs[0];
        }
        return value;
    }

    /// <summary>The last two axes exchanged: a Transpose that did that (among others) is taken back.</summary>
    private static Value Turned(Value k)
    {
        if (Patterns.Made(k, "Transpose") is not { } node || node.Attributes.GetValueOrDefault("perm") is not long[] perm) return k.T();
        long[] other = [.. perm[..^2], perm[^1], perm[^2]];
        return other.Select((axis, i) => axis == i).All(same => same) ? node.Inputs[0]! : node.Inputs[0]!.Transpose(other);
    }

    private static bool SameBatch(Value a, Value v, Shape scores) =>
        a.Shape is { } sa && v.Shape is { } sv && sa.Rank == scores.Rank && sv.Rank == scores.Rank
        && sa.Dims[..^2].SequenceEqual(scores.Dims[..^2]) && sv.Dims[..^2].SequenceEqual(scores.Dims[..^2]);

    /// <summary>Whether a mask is added without making the scores larger.</summary>
    private static bool Broadcasts(Value mask, Shape scores) => mask.Type.IsFloating() && mask.Shape is { } s && s.Rank <= scores.Rank
        && Enumerable.Range(1, s.Rank).All(i => s[-i] == (Dim)1 || s[-i] == scores[-i]);
}
