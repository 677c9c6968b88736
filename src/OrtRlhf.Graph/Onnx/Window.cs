namespace OrtRlhf.Graph;

/// <summary>How a convolution or pooling slides: strides, dilations, padding before and after, kernel, per spatial axis.</summary>
internal sealed record Window(long[] Kernel, long[] Strides, long[] Dilations, long[] Before, long[] After)
{
    /// <summary>Reads a node's attributes; the kernel is the weight's shape behind its first two axes.</summary>
    public static Window Of(Node node, int spatial, Shape weight)
    {
        if (node.Attribute("auto_pad", "NOTSET") is not ("NOTSET" or "VALID"))
            throw new UserError($"{node}: auto_pad {node.Attribute("auto_pad", "")} is not supported; expected explicit pads");
        var ones = Enumerable.Repeat(1L, spatial).ToArray();
        var pads = node.Attribute("pads", new long[2 * spatial]);
        return new Window([.. weight.Dims[2..].ToArray().Select(d => d.Size)], node.Attribute("strides", ones),
            node.Attribute("dilations", ones), pads[..spatial], pads[spatial..]);
    }

    /// <summary>Cells from the first to the last one the kernel touches.</summary>
    public long Reach(int axis) => (Dilations[axis] * (Kernel[axis] - 1)) + 1;

    /// <summary>Output size for an input size.</summary>
    public long OutputSize(int axis, long size, bool ceil = false)
    {
        var room = size + Before[axis] + After[axis] - Reach(axis);
        return ((ceil ? room + Strides[axis] - 1 : room) / Strides[axis]) + 1;
    }
}

/// <summary>One axis of a Slice, normalised to begin at the front.</summary>
internal readonly record struct SliceRange(int Axis, long Start, long End, long Step)
{
    /// <summary>The ranges of a Slice node, or null where a bound is not constant.</summary>
    public static SliceRange[]? Of(Node node)
    {
        if (node.Input(0)?.Shape is not { } shape) return null;
        var starts = ShapeRules.AttributeOrInput(node, "starts", 1);
        var ends = ShapeRules.AttributeOrInput(node, "ends", 2);
        if (starts is null || ends is null) return null;
        var axes = ShapeRules.AttributeOrInput(node, "axes", 3);
        if (axes is null && node.Input(3) is not null) return null;
        var steps = ShapeRules.Integers(node.Input(4));
        if (steps is null && node.Input(4) is not null) return null;
        return [.. starts.Select((start, i) => new SliceRange(shape.Axis(axes?[i] ?? i), start, ends[i], steps?[i] ?? 1))];
    }

    /// <summary>First index taken from an axis of the given size.</summary>
    public long From(long size) => Step > 0
        ? Math.Clamp(Start < 0 ? Start + size : Start, 0, size)
        : Math.Clamp(Start < 0 ? Start + size : Start, 0, size - 1);

    /// <summary>The index behind the last one taken.</summary>
    public long To(long size) => Step > 0
        ? Math.Clamp(End < 0 ? End + size : End, 0, size)
        : Math.Clamp(End < 0 ? End + size : End, -1, size - 1);

    /// <summary>How many elements are taken.</summary>
    public long Count(long size) => Math.Max(0, (long)Math.Ceiling((To(size) - From(size)) / (double)Step));
}
