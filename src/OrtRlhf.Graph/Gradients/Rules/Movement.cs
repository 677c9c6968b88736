using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>Operators that move elements: the gradient moves back.</summary>
internal static class Movement
{
    public static IReadOnlyList<Value?> Transpose(NodeGradient g)
    {
        var rank = g.In(0).Shape!.Rank;
        var perm = g.Node.Attribute("perm", Enumerable.Range(0, rank).Select(i => (long)(rank - 1 - i)).ToArray());
        var inverse = new long[rank];
        for (var i = 0; i < rank; i++) inverse[perm[i]] = i;
        return [g.Dy.Transpose(inverse)];
    }

    public static IReadOnlyList<Value?> Concat(NodeGradient g)
    {
        var axis = g.In(0).Shape!.Axis(g.Node.Attribute("axis", 0L));
        var result = new Value?[g.Node.Inputs.Count];
        for (long i = 0, start = 0; i < result.Length; i++)
        {
            var size = g.In((int)i).Sizes[axis];
            if (g.Needs((int)i)) result[i] = g.Dy.Slice(axis, start, start + size);
            start += size;
        }
        return result;
    }

    public static IReadOnlyList<Value?> Split(NodeGradient g)
    {
        var axis = g.In(0).Shape!.Axis(g.Node.Attribute("axis", 0L));
        var parts = g.Node.Outputs.Select((o, i) => g.Upstream(i) ?? g.ZerosLike(g.Out(i))).ToArray();
        return [Layout.Concat(axis, parts), null];
    }

    // Axis by axis: a step of one is undone by zeros around, any other step by scattering to the places taken.
    public static IReadOnlyList<Value?> Slice(NodeGradient g)
    {
        var ranges = SliceRange.Of(g.Node) ?? throw new UserError($"{g.Node}: expected constant bounds");
        var sizes = g.In(0).Sizes;
        var dy = g.Dy;
        long[] before = new long[sizes.Length], after = new long[sizes.Length];
        foreach (var range in ranges)
        {
            var size = sizes[range.Axis];
            if (range.Step == 1)
            {
                before[range.Axis] = range.From(size);
                after[range.Axis] = size - range.From(size) - range.Count(size);
            }
            else
            {
                var places = Enumerable.Range(0, (int)range.Count(size)).Select(i => range.From(size) + (i * range.Step)).ToArray();
                dy = Scatter(g, dy, g.Graph.Constant(Tensor.Vector(places)), range.Axis, size);
            }
        }
        return [dy.Pad(before, after)];
    }

    // Cells that were added are cut off; where cells were cut off (negative pads), zeros come back.
    public static IReadOnlyList<Value?> Pad(NodeGradient g)
    {
        if (g.Node.Attribute("mode",
            "constant") != "constant") throw new UserError($"{g.Node}: expected padding mode constant, got {g.Node.Attribute("mode", "")}");
        var (before, after) = ShapeRules.Pads(g.Node) ?? throw new UserError($"{g.Node}: expected constant pads");
        var sizes = g.In(0).Sizes;
        var axes = Enumerable.Range(0, sizes.Length).Where(i => before[i] > 0 || after[i] > 0).ToArray();
        var dx = axes.Length == 0 ? g.Dy : g.Dy.Slice(
            [.. axes.Select(a => (long)a)],
            [.. axes.Select(a => Math.Max(0, before[a]))],
            [.. axes.Select(a => g.Dy.Sizes[a] - Math.Max(0, after[a]))],
            [.. axes.Select(_ => 1L)]);
        return [dx.Pad([.. before.Select(b => Math.Max(0, -b))], [.. after.Select(a => Math.Max(0, -a))])];
    }

    // Each element gets the sum over its copies.
    public static IReadOnlyList<Value?> Tile(NodeGradient g)
    {
        long[] from = g.In(0).Sizes, to = g.Node.Output.Sizes;
        long[] blocks = [.. from.SelectMany((size, i) => new[] { to[i] / size, size })];
        return [Functions.Sum(g.Dy.Reshape(blocks), [.. from.Select((_, i) => 2L * i)]), null];
    }

    // Rows taken several times add up.
    public static IReadOnlyList<Value?> Gather(NodeGradient g)
    {
        var (x, indices) = (g.In(0), g.In(1));
        var axis = x.Shape!.Axis(g.Node.Attribute("axis", 0L));
        var count = indices.Shape!.Count;
        long[] shape = [.. x.Sizes[..axis], count, .. x.Sizes[(axis + 1)..]];
        return [Scatter(g, g.Dy.Reshape(shape), indices.Reshape(count), axis, x.Sizes[axis]), null];
    }

    public static IReadOnlyList<Value?> GatherElements(NodeGradient g)
    {
        var zeros = g.ZerosLike(g.In(0));
        return [g.Graph.Op("ScatterElements", [zeros, g.In(1), g.Dy], ("axis", g.Node.Attribute("axis", 0L)), ("reduction", "add")), null];
    }

    // Depth b*b*C of mode DCR, or C*b*b of mode CRD.
    public static IReadOnlyList<Value?> DepthToSpace(NodeGradient g)
    {
        var (s, b) = (g.In(0).Sizes, g.Node.Attribute("blocksize", 1L));
        if (g.Node.Attribute("mode", "DCR") == "DCR") return [g.Graph.Op("SpaceToDepth", [g.Dy], ("blocksize", b))];
        return [g.Dy.Reshape(s[0], s[1] / (b * b), s[2], b, s[3], b).Transpose(0, 1, 3, 5, 2, 4).Reshape(s)];
    }

    private static Value Scatter(NodeGradient g, Value updates, Value places, int axis, long size)
    {
        var shape = updates.Sizes;
        var column = Enumerable.Repeat(1L, shape.Length).ToArray();
        column[axis] = shape[axis];
        var zeros = g.Graph.Scalar(updates.Type, 0).Expand([.. shape.Select((s, i) => i == axis ? size : s)]);
        return g.Graph.Op("ScatterElements", [zeros, places.Reshape(column).Expand(shape), updates], ("axis", (long)axis),
            ("reduction", "add"));
    }
}
