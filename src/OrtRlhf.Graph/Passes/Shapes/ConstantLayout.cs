namespace OrtRlhf.Graph.Passes;

/// <summary>
/// Constants laid out otherwise. Nearly every such operator is a view: along each axis of the result a list says how far into the source
/// its elements lie,
/// and the places of the axes add up.
/// </summary>
internal static class ConstantLayout
{
    public static Tensor Expand(Tensor x, long[] dims)
    {
        if (x.Dims.AsSpan().SequenceEqual(dims)) return x;
        var (strides, extra) = (Strides(x.Dims), dims.Length - x.Dims.Length);
        return View(x, [.. dims.Select((d, a) => Axis(d, i => a < extra || x.Dims[a - extra] == 1 ? 0 : i * strides[a - extra]))]);
    }

    public static Tensor Tile(Tensor x, long[] dims)
    {
        var strides = Strides(x.Dims);
        return View(x, [.. dims.Select((d, a) => Axis(d, i => i % x.Dims[a] * strides[a]))]);
    }

    public static Tensor Transpose(Tensor x, long[] order)
    {
        var strides = Strides(x.Dims);
        return View(x, [.. order.Select(o => Axis(x.Dims[o], i => i * strides[o]))]);
    }

    public static Tensor Slice(Tensor x, SliceRange[] ranges)
    {
        var strides = Strides(x.Dims);
        return View(x, [.. x.Dims.Select((d, a) => ranges.Where(r => r.Axis == a).Select(r => (SliceRange?)r).FirstOrDefault() is { } range
            ? Axis(range.Count(d), i => (range.From(d) + (i * range.Step)) * strides[a])
            : Axis(d, i => i * strides[a]))]);
    }

    public static Tensor? Gather(Tensor x, Tensor indices, int axis)
    {
        var strides = Strides(x.Dims);
        var places = indices.ToInt64s().Select(i => i < 0 ? i + x.Dims[axis] : i).ToArray();
        if (places.Any(p => p < 0 || p >= x.Dims[axis])) return null;
        return View(x, [.. x.Dims.Select((d, a) =>
            a == axis ? Axis(places.Length, i => places[i] * strides[a]) : Axis(d, i => i * strides[a]))])
            .Reshaped([.. x.Dims[..axis], .. indices.Dims, .. x.Dims[(axis + 1)..]]);
    }

    public static Tensor Concat(Tensor[] parts, int axis)
    {
        var dims = (long[])parts[0].Dims.Clone();
        dims[axis] = parts.Sum(p => p.Dims[axis]);
        var outer = dims[..axis].Aggregate(1L, (a, b) => a * b);
        var bytes = new List<byte>();
        for (var o = 0; o < outer; o++)
            foreach (var part in parts) bytes.AddRange(part.Bytes()
                .AsSpan((int)(o * part.ByteLength / outer), (int)(part.ByteLength / outer)));
        return new Tensor(parts[0].Type, dims, [.. bytes]);
    }

    /// <summary>Elements of the second where the first is true, of the third elsewhere.</summary>
    public static Tensor Select(Tensor[] t, long[] dims)
    {
        var condition = Expand(t[0], dims).ToInt64s();
        var (yes, no, size) = (Expand(t[1], dims).Bytes(), Expand(t[2], dims).Bytes(), t[1].Type.SizeOf());
        var bytes = new byte[condition.Length * size];
        for (var i = 0; i < condition.Length; i++) (condition[i] != 0 ? yes : no).AsSpan(i * size, size).CopyTo(bytes.AsSpan(i * size));
        return new Tensor(t[1].Type, dims, bytes);
    }

    /// <summary>The part of each matrix on and above (or below) a diagonal, zeros elsewhere.</summary>
    public static Tensor Triangle(Tensor x, long diagonal, bool upper)
    {
        var (rows, columns, size) = (x.Dims[^2], x.Dims[^1], x.Type.SizeOf());
        var bytes = (byte[])x.Bytes().Clone();
        for (var i = 0; i < x.Count; i++)
        {
            var above = (i % columns) - (i / columns % rows) - diagonal;
            if (upper ? above < 0 : above > 0) bytes.AsSpan(i * size, size).Clear();
        }
        return new Tensor(x.Type, x.Dims, bytes);
    }

    private static Tensor View(Tensor x, long[][] places)
    {
        var (source, size) = (x.Bytes(), x.Type.SizeOf());
        IEnumerable<long> all = [0];
        foreach (var axis in places) all = all.SelectMany(start => axis.Select(place => start + place));
        return new Tensor(x.Type, [.. places.Select(p => p.LongLength)],
            [.. all.SelectMany(place => source.AsSpan((int)place * size, size).ToArray())]);
    }

    private static long[] Axis(long count, Func<long, long> place)
    {
        var places = new long[count];
        for (var i = 0L; i < count; i++) places[i] = place(i);
        return places;
    }

    private static long[] Strides(long[] dims)
    {
        var strides = new long[dims.Length];
        for (long i = dims.Length - 1, stride = 1; i >= 0; i--)
        {
            strides[i] = stride;
            stride *= dims[i];
        }
        return strides;
    }
}
