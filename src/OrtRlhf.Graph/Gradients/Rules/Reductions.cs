using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Sums, means and extremes over axes: the gradient is spread over what was reduced.</summary>
internal static class Reductions
{
    public static IReadOnlyList<Value?> Sum(NodeGradient g) => [Spread(g, g.Dy).Expand(g.In(0).Sizes), null];

    public static IReadOnlyList<Value?> Mean(NodeGradient g)
    {
        var count = g.In(0).Shape!.Count / (double)g.Node.Output.Shape!.Count;
        return [(Spread(g, g.Dy) * (1 / count)).Expand(g.In(0).Sizes), null];
    }

    // Equal extremes share the gradient.
    public static IReadOnlyList<Value?> Extreme(NodeGradient g)
    {
        var x = g.In(0);
        var chosen = Cast(g.Graph.Op("Equal", [x, Spread(g, g.Out(0))]), x.Type);
        var axes = Axes(g);
        return [chosen * (Spread(g, g.Dy) / Functions.Sum(chosen, axes, true)), null];
    }

    public static IReadOnlyList<Value?> SumSquare(NodeGradient g) => [g.In(0) * 2.0 * Spread(g, g.Dy), null];

    public static IReadOnlyList<Value?> L1(NodeGradient g) => [g.Graph.Op("Sign", [g.In(0)]) * Spread(g, g.Dy), null];

    // y = sqrt(sum x^2): dx = dy x / y.
    public static IReadOnlyList<Value?> L2(NodeGradient g) => [g.In(0) * Spread(g, g.Dy / g.Out(0)), null];

    // y = ln sum e^x: dx = dy e^(x - y).
    public static IReadOnlyList<Value?> LogSumExp(NodeGradient g) => [Exp(g.In(0) - Spread(g, g.Out(0))) * Spread(g, g.Dy), null];

    private static long[] Axes(NodeGradient g)
    {
        var rank = g.In(0).Shape!.Rank;
        var axes = ShapeRules.AttributeOrInput(g.Node, "axes", 1);
        if (axes is null && g.Node.Input(1) is not null) throw new UserError($"{g.Node}: expected constant axes");
        if (axes is { Length: 0 } && g.Node.Attribute("noop_with_empty_axes", 0L) != 0) return [];
        return axes is null or { Length: 0 } ? [.. Enumerable.Range(0, rank).Select(i => (long)i)]
            : [.. axes.Select(a => (long)g.In(0).Shape!.Axis(a))];
    }

    /// <summary>A reduced value with its reduced axes back as ones.</summary>
    private static Value Spread(NodeGradient g, Value reduced)
    {
        var axes = Axes(g).ToHashSet();
        return reduced.Reshape([.. g.In(0).Sizes.Select((size, i) => axes.Contains(i) ? 1 : size)]);
    }
}
