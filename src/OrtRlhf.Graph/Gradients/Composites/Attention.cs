using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// Attention. Outputs: o [..., S, e] and the probabilities p [..., S, T], which the gradient uses. The large matrix p is never transposed.
/// From
/// <see cref="CompositeShapes.LargeHead"/> scores a head on, heads run one after the other, so that a head's scores stay in the cache, and
/// each head's p is an output of its own
/// (attribute <c>one_by_one</c> 0 or 1 says it whatever the size). From <see cref="Huge"/> scores of all heads on p is not kept: the
/// gradient takes it again.
/// </summary>
internal sealed class Attention : Composite
{
    private const long Huge = 1 << 26;

    public override Value[] Lower(Node node)
    {
        var heads = CompositeShapes.Heads(node);
        var (q, k, v) = (Rows(node.Input(0)!, heads), Rows(node.Input(1)!, heads), Rows(node.Input(2)!, heads));
        var (keys, mask) = ((k * node.Attribute("scale", 1f)).T(), Mask(node, heads));
        if (heads is null)
        {
            var p = Probabilities(q, keys, mask);
            return [MatMul(p, v), p];
        }
        var each = Enumerable.Range(0, (int)heads).Select(h => Probabilities(At(q, h), At(keys, h), mask)).Select((p, h) =>
            (P: p, O: MatMul(p, At(v, h)))).ToArray();
        return [Layout.Concat(0, [.. each.Select(h => h.O)]).Reshape(node.Output.Sizes), .. each.Select(h => h.P)];
    }

    // dV^T = dO^T P;  dS = P * (dO V^T - delta), delta = sum(dO * O) per row, both terms from one product [dO | -delta] [V | 1]^T;
    // dQ = scale dS K;  dK^T = scale Q^T dS.
    public override Value?[] Gradient(NodeGradient g)
    {
        var heads = CompositeShapes.Heads(g.Node);
        var scale = (double)g.Node.Attribute("scale", 1f);
        var (q, k, v) = (Rows(g.In(0), heads), Rows(g.In(1), heads), Rows(g.In(2), heads));
        var (o, dO, mask) = (Rows(g.Out(0), heads), Rows(g.Upstream(0)!, heads), Mask(g.Node, heads));
        var left = Layout.Concat(-1, dO, -Sum(dO * o, [-1], true));
        var ones = v.Shape is { IsStatic: true } sv ? q.Graph.Scalar(v.Type, 1).Expand(sv.With(-1, 1).Sizes) : (v.Slice(-1, 0, 1) * 0) + 1;
        var right = Layout.Concat(-1, v, ones).T();
        var (queries, keys, turnedO) = (q * scale, k * scale, dO.T());
        var turnedQueries = queries.T();
        // The scale stands elsewhere than forward, so that no runtime takes the two for one and keeps them.
        var again = g.Options.RecomputeScores || (heads is { } all && all * q.Sizes[^2] * k.Sizes[^2] >= Huge) ? k.T() : null;
        var dMask = new List<Value>();
        Value?[] dX;
        if (heads is null)
        {
            var (dQ, dK, dV) = Head(x => x, 0);
            dX = [dQ, dK?.T(), dV?.T()];
        }
        else
        {
            // A head's results are joined before those of the next, so that its scores are gone by then.
            var each = Enumerable.Range(0, (int)heads).Select(h => Head(x => At(x, h), h))
                .Select(d => new[] { d.dQ, d.dK, d.dV }.OfType<Value>().Select(x => x.Reshape(-1)).ToArray()).ToArray();
            var joined = each[0].Length == 0 ? null : Layout.Concat(0, [.. each.Select(d => Layout.Concat(0, d))]).Reshape(heads.Value, -1);
            long from = 0;
            dX = [Taken(q, 0, false), Taken(k, 1, true), Taken(v, 2, true)];

            Value? Taken(Value x, int input, bool turned)
            {
                if (!g.Needs(input) || joined is null) return null;
                var (rows, width) = (x.Sizes[1], x.Sizes[2]);
                var part = joined.Slice(1, from, from + (rows * width));
                from += rows * width;
                return (turned ? part.Reshape(heads.Value, width, rows).T() : part).Reshape(g.In(input).Sizes);
            }
        }
        if (dMask.Count < 2) return [.. dX, dMask.FirstOrDefault()];
        long[] shared = [.. Enumerable.Repeat(1L, g.Out(0).Sizes.Length - 2)];
        return [.. dX, q.Graph.Op("Sum", [.. dMask]).Reshape([.. shared, q.Sizes[^2], k.Sizes[^2]])];

        (Value? dQ, Value? dK, Value? dV) Head(Func<Value, Value> at, int head)
        {
            var p = again is null ? g.Out(1 + head) : Probabilities(at(queries), at(again), mask);
            var dV = g.Needs(2) ? MatMul(at(turnedO), p) : null;
            if (!g.Needs(0) && !g.Needs(1) && !g.Needs(3)) return (null, null, dV);
            var dS = p * MatMul(at(left), at(right));
            if (g.Needs(3)) dMask.Add(dS);
            return (g.Needs(0) ? MatMul(dS, at(keys)) : null, g.Needs(1) ? MatMul(at(turnedQueries), dS) : null, dV);
        }
    }

    private static Value Probabilities(Value q, Value turnedKeys, Value? mask)
    {
        var scores = MatMul(q, turnedKeys);
        return Softmax(mask is null ? scores : scores + mask);
    }

    /// <summary>[..., n, m] as [heads, n, m].</summary>
    private static Value Rows(Value x, long? heads) =>
        heads is null || x.Shape!.Rank == 3 ? x : x.Reshape(heads.Value, x.Sizes[^2], x.Sizes[^1]);

    /// <summary>The mask, for one head where they run one after the other.</summary>
    private static Value? Mask(Node node, long? heads) =>
        heads is not null && node.Input(3) is { Shape.Rank: > 3 } mask ? mask.Reshape(mask.Sizes[^2], mask.Sizes[^1]) : node.Input(3);

    private static Value At(Value x, int head) => x.Slice(0, head, head + 1);
}
