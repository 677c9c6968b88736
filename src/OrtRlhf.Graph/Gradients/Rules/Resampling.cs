using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Enlarging and shrinking of pictures.</summary>
internal static class Resampling
{
    // Modes of coordinates that copy each cell to a block of its own.
    private static readonly string[] Blocks = ["asymmetric floor", "half_pixel round_prefer_floor", "half_pixel round_prefer_ceil"];

    // Nearest by whole factors: each cell gets the sum of the block it was copied to.
    public static IReadOnlyList<Value?> Resize(NodeGradient g)
    {
        long[] from = g.In(0).Sizes, to = g.Node.Output.Sizes;
        var places = $"{g.Node.Attribute("coordinate_transformation_mode", "half_pixel")} "
            + $"{g.Node.Attribute("nearest_mode", "round_prefer_floor")}";
        if (g.Node.Attribute("mode", "nearest") != "nearest" || !Blocks.Contains(places) || from.Length != 4 || from[0] != to[0]
            || from[1] != to[1] || to[2] % from[2] != 0 || to[3] % from[3] != 0)
            throw new UserError($"{g.Node}: expected nearest enlarging of [B,C,H,W] by whole factors, got mode "
                + $"{g.Node.Attribute("mode", "nearest")} ({places}) from [{string.Join(",", from)}] to [{string.Join(",", to)}]");
        return [Sum(g.Dy.Reshape(from[0], from[1], from[2], to[2] / from[2], from[3], to[3] / from[3]), [3, 5])];
    }

    // Without overlap or padding: each cell of the block gets its share.
    public static IReadOnlyList<Value?> AveragePool(NodeGradient g)
    {
        var kernel = g.Node.Attribute("kernel_shape", Array.Empty<long>());
        var window = Window.Of(g.Node, kernel.Length, Shape.Of([1, 1, .. kernel]));
        var s = g.In(0).Sizes;
        if (s.Length != 4 || !window.Strides.AsSpan().SequenceEqual(kernel) || window.Before.Concat(window.After).Any(p => p != 0)
            || s[2] % kernel[0] != 0 || s[3] % kernel[1] != 0)
            throw new UserError($"{g.Node}: expected pooling of [B,C,H,W] without overlap or padding, got kernel "
                + $"[{string.Join(",", kernel)}] on [{string.Join(",", s)}]");
        long[] blocks = [s[0], s[1], s[2] / kernel[0], 1, s[3] / kernel[1], 1];
        return [(g.Dy.Reshape(blocks) * (1.0 / (kernel[0] * kernel[1])))
            .Expand(s[0], s[1], s[2] / kernel[0], kernel[0], s[3] / kernel[1], kernel[1]).Reshape(s)];
    }

    public static IReadOnlyList<Value?> GlobalAveragePool(NodeGradient g)
    {
        var s = g.In(0).Sizes;
        return [(g.Dy * (1.0 / s.Skip(2).Aggregate(1L, (a, b) => a * b))).Expand(s)];
    }
}
