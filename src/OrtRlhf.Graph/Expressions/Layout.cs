namespace OrtRlhf.Graph.Expressions;

/// <summary>Changes of a value's layout: shape, order of axes, parts, joins.</summary>
public static class Layout
{
    /// <summary>The same elements under another shape; 0 keeps a size, -1 is what remains.</summary>
    public static Value Reshape(this Value x, params long[] shape) => x.Graph.Op("Reshape", [x, x.Graph.Constant(Tensor.Vector(shape))]);

    /// <summary>The shape of another value (a node only where that shape is not known).</summary>
    public static Value ReshapeLike(this Value x, Value other)
    {
        if (other.Shape is { IsStatic: true } s) return x.Reshape(s.Sizes);
        var y = x.Graph.Op("Reshape", [x, x.Graph.Op("Shape", [other])]);
        y.Shape = other.Shape ?? y.Shape;
        return y;
    }

    /// <summary>Axes in another order.</summary>
    public static Value Transpose(this Value x, params long[] order) => x.Graph.Op("Transpose", [x], ("perm", order));

    /// <summary>The last two axes exchanged.</summary>
    public static Value T(this Value x)
    {
        var order = Enumerable.Range(0, x.Shape!.Rank).Select(i => (long)i).ToArray();
        (order[^1], order[^2]) = (order[^2], order[^1]);
        return x.Transpose(order);
    }

    /// <summary>New axes of size one at the given places of the result.</summary>
    public static Value Unsqueeze(this Value x, params long[] axes) => x.Graph.Op("Unsqueeze", [x, x.Graph.Constant(Tensor.Vector(axes))]);

    /// <summary>Axes of size one taken away.</summary>
    public static Value Squeeze(this Value x, params long[] axes) => x.Graph.Op("Squeeze", [x, x.Graph.Constant(Tensor.Vector(axes))]);

    /// <summary>Elements start to end (not included) of an axis.</summary>
    public static Value Slice(this Value x, long axis, long start, long end, long step = 1) => x.Slice([axis], [start], [end], [step]);

    /// <summary>Elements start to end (not included) of several axes.</summary>
    public static Value Slice(this Value x, long[] axes, long[] starts, long[] ends, long[] steps)
    {
        var g = x.Graph;
        return g.Op("Slice", [x, g.Constant(Tensor.Vector(starts)), g.Constant(Tensor.Vector(ends)), g.Constant(Tensor.Vector(axes)),
            g.Constant(Tensor.Vector(steps))]);
    }

    /// <summary>Equal or given parts of an axis.</summary>
    public static Value[] Split(this Value x, long axis, params long[] sizes) =>
        x.Graph.Op("Split", "", sizes.Length, [x, x.Graph.Constant(Tensor.Vector(sizes))], ("axis", axis));

    /// <summary>Zeros around a value: cells before and after each axis.</summary>
    public static Value Pad(this Value x, long[] before, long[] after) => before.All(b => b == 0) && after.All(a => a == 0)
        ? x
        : x.Graph.Op("Pad", [x, x.Graph.Constant(Tensor.Vector([.. before, .. after]))], ("mode", "constant"));

    /// <summary>Values joined along an axis.</summary>
    public static Value Concat(long axis, params Value[] parts) =>
        parts.Length == 1 ? parts[0] : parts[0].Graph.Op("Concat", parts, ("axis", axis));

    /// <summary>Rows of an axis by index.</summary>
    public static Value Gather(this Value x, Value indices, long axis = 0) => x.Graph.Op("Gather", [x, indices], ("axis", axis));

    /// <summary>Ones repeated to a shape.</summary>
    public static Value Expand(this Value x, params long[] shape) => x.Graph.Op("Expand", [x, x.Graph.Constant(Tensor.Vector(shape))]);

    /// <summary>A value [B] as [B, 1, 1, ...] of the given rank, to weigh samples.</summary>
    public static Value PerSample(this Value x, int rank) =>
        rank <= 1 ? x : x.Unsqueeze([.. Enumerable.Range(1, rank - 1).Select(i => (long)i)]);
}
