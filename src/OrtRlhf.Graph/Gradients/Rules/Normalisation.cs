using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Softmax and normalisation layers.</summary>
internal static class Normalisation
{
    // dx = p (dy - sum(p dy)).
    public static IReadOnlyList<Value?> Softmax(NodeGradient g)
    {
        var p = g.Out(0);
        var weighted = g.Dy * p;
        return [weighted - (p * Sum(weighted, [g.Node.Attribute("axis", -1L)], true))];
    }

    // y = ln p: dx = dy - p sum(dy).
    public static IReadOnlyList<Value?> LogSoftmax(NodeGradient g) =>
        [g.Dy - (Exp(g.Out(0)) * Sum(g.Dy, [g.Node.Attribute("axis", -1L)], true))];

    // xhat = (x - mean)/std over the last axes;  dx = (w - mean(w) - xhat mean(w xhat))/std  with w = dy * scale.
    public static IReadOnlyList<Value?> LayerNorm(NodeGradient g)
    {
        var (x, scale) = (g.In(0), g.In(1));
        var axis = x.Shape!.Axis(g.Node.Attribute("axis", -1L));
        long[] inner = [.. Enumerable.Range(axis, x.Shape.Rank - axis).Select(i => (long)i)];
        var outer = Enumerable.Range(0, axis).Select(i => (long)i).ToArray();
        var (mean, inverse) = (g.Out(1), g.Out(2));
        var xhat = (Cast(x, ElementType.Float) - mean) * inverse;
        var dy = Cast(g.Dy, ElementType.Float);
        Value? dx = null;
        if (g.Needs(0))
        {
            var w = dy * Cast(scale, ElementType.Float);
            dx = Cast((w - Mean(w, inner, true) - (xhat * Mean(w * xhat, inner, true))) * inverse, x.Type);
        }
        var dScale = g.Needs(1) ? Cast(Sum(dy * xhat, outer), scale.Type) : null;
        return g.Node.Inputs.Count > 2 ? [dx, dScale, g.Needs(2) ? Sum(g.Dy, outer) : null] : [dx, dScale];
    }

    // The same over the axes behind the channels of [B, C, ...], scale and bias per channel; the statistics are taken again.
    public static IReadOnlyList<Value?> InstanceNorm(NodeGradient g)
    {
        var (x, scale) = (g.In(0), g.In(1));
        var rank = x.Shape!.Rank;
        long[] inner = [.. Enumerable.Range(2, rank - 2).Select(i => (long)i)];
        long[] others = [0, .. inner];
        var centred = x - Mean(x, inner, true);
        var inverse = g.Graph.Op("Reciprocal", [Sqrt(Mean(Square(centred), inner, true) + g.Node.Attribute("epsilon", 1e-5f))]);
        var xhat = centred * inverse;
        Value? dx = null;
        if (g.Needs(0))
        {
            var w = g.Dy * scale.Unsqueeze([.. Enumerable.Range(1, rank - 2).Select(i => (long)i)]);
            dx = (w - Mean(w, inner, true) - (xhat * Mean(w * xhat, inner, true))) * inverse;
        }
        return [dx, g.Needs(1) ? Sum(g.Dy * xhat, others) : null, g.Needs(2) ? Sum(g.Dy, others) : null];
    }

    // The same over the channels of each group; scale and bias are one number a channel, before opset 21 one a group.
    public static IReadOnlyList<Value?> GroupNorm(NodeGradient g)
    {
        var (x, groups) = (g.In(0), g.Node.Attribute("num_groups", 1L));
        var sizes = x.Sizes;
        long[] rows = [sizes[0], groups, x.Shape!.Count / (sizes[0] * groups)];
        long[] others = [0, .. Enumerable.Range(2, sizes.Length - 2).Select(i => (long)i)];
        var perChannel = others[1..].Select(i => i - 1).ToArray();
        var centred = x.Reshape(rows) - Mean(x.Reshape(rows), [2], true);
        var inverse = g.Graph.Op("Reciprocal", [Sqrt(Mean(Square(centred), [2], true) + g.Node.Attribute("epsilon", 1e-5f))]);
        var xhat = centred * inverse;
        Value? dx = null;
        if (g.Needs(0))
        {
            var w = (g.Dy * Spread(g.In(1)).Unsqueeze(perChannel)).Reshape(rows);
            dx = ((w - Mean(w, [2], true) - (xhat * Mean(w * xhat, [2], true))) * inverse).Reshape(sizes);
        }
        return [dx, g.Needs(1) ? Gathered(g.Dy * xhat.Reshape(sizes), g.In(1)) : null, g.Needs(2) ? Gathered(g.Dy, g.In(2)) : null];

        bool ByChannel(Value v) => v.Sizes[0] == sizes[1];
        Value Spread(Value v) => ByChannel(v) ? v : v.Unsqueeze(1).Expand(groups, sizes[1] / groups).Reshape(sizes[1]);
        Value Gathered(Value d, Value v) => ByChannel(v) ? Sum(d, others) : Sum(Sum(d, others).Reshape(groups, -1), [1]);
    }
}
