namespace OrtRlhf.Graph;

// Operators that lay elements out otherwise.
internal static partial class ShapeRules
{
    internal static void Transpose(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        var perm = node.Attribute("perm", Enumerable.Range(0, s.Rank).Select(i => (long)(s.Rank - 1 - i)).ToArray());
        if (perm.Length != s.Rank) throw Fault(node, $"rank {perm.Length}");
        Set(node, 0, x.Type, new Shape(perm.Select(p => s[(int)p])));
    }

    internal static void Reshape(Node node)
    {
        var x = In(node, 0)!;
        if (Integers(In(node, 1)) is not { } target)
        {
            var rank = In(node, 1)?.Shape is { Rank: 1 } s && s[0].IsKnown ? s[0].Size : -1;
            Set(node, 0, x.Type, rank >= 0 ? Unknown(rank, node) : null);
            return;
        }
        var zeroCopies = node.Attribute("allowzero", 0L) == 0;
        var dims = new Dim[target.Length];
        for (var i = 0; i < target.Length; i++)
            dims[i] = target[i] == 0 && zeroCopies ? (x.Shape is { } sx && i < sx.Rank ? sx[i] : (Dim)$"{node.Output.Name}_{i}")
                : target[i];
        var free = Array.IndexOf(target, -1L);
        if (free >= 0)
        {
            dims[free] = $"{node.Output.Name}_{free}";
            // A symbol that stands on both sides divides out.
            if (x.Shape is { } sx)
            {
                var left = sx.Dims.ToArray().ToList();
                var right = dims.Where((_, i) => i != free).ToList();
                foreach (var symbol in right.Where(d => !d.IsKnown).ToList())
                    if (left.Remove(symbol)) right.Remove(symbol);
                if (right.All(d => d.IsKnown))
                {
                    var symbols = left.Where(d => !d.IsKnown).ToList();
                    long have = left.Where(d => d.IsKnown).Aggregate(1L, (a, d) => a * d.Size),
                        want = right.Aggregate(1L, (a, d) => a * d.Size);
                    if (symbols.Count == 0)
                    {
                        if (want == 0 || have % want != 0) throw Fault(node, $"a count that [{string.Join(",", target)}] divides");
                        dims[free] = have / want;
                    }
                    else if (symbols.Count == 1 && have == want)
                    {
                        dims[free] = symbols[0];
                    }
                }
            }
        }
        else if (x.Shape is { IsStatic: true } known && dims.All(d => d.IsKnown) && known.Count != dims.Aggregate(1L, (a, d) => a * d.Size))
        {
            throw Fault(node, $"as many elements as [{string.Join(",", target)}] has");
        }
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void Flatten(Node node)
    {
        var x = In(node, 0)!;
        Set(node, 0, x.Type, null);
        if (x.Shape is not { IsStatic: true } s) return;
        var axis = s.Axis(node.Attribute("axis", 1L));
        Set(node, 0, x.Type,
            Shape.Of(s.Sizes.Take(axis).Aggregate(1L, (a, b) => a * b), s.Sizes.Skip(axis).Aggregate(1L, (a, b) => a * b)));
    }

    internal static void Concat(Node node)
    {
        var type = In(node, 0)!.Type;
        if (node.Inputs.Any(i => i?.Shape is null))
        {
            Set(node, 0, type, null);
            return;
        }
        var first = In(node, 0)!.Shape!;
        var axis = first.Axis(node.Attribute("axis", 0L));
        var dims = first.Dims.ToArray();
        foreach (var input in node.Inputs)
        {
            if (input!.Shape!.Rank != first.Rank) throw Fault(node, "inputs of equal rank");
            for (var i = 0; i < dims.Length; i++)
            {
                if (i == axis) continue;
                var dim = input.Shape[i];
                if (dims[i].IsKnown && dim.IsKnown && dim != dims[i]) throw Fault(node, $"inputs that agree outside axis {axis}");
                if (dim.IsKnown) dims[i] = dim;
            }
        }
        dims[axis] = node.Inputs.All(i => i!.Shape![axis].IsKnown) ? node.Inputs.Sum(i => i!.Shape![axis].Size)
            : (Dim)$"{node.Output.Name}_{axis}";
        Set(node, 0, type, new Shape(dims));
    }

    internal static void Split(Node node)
    {
        var x = In(node, 0)!;
        for (var i = 0; i < node.Outputs.Count; i++) Set(node, i, x.Type, null);
        if (x.Shape is not { } s) return;
        var axis = s.Axis(node.Attribute("axis", 0L));
        var sizes = AttributeOrInput(node, "split", 1);
        for (var i = 0; i < node.Outputs.Count; i++)
        {
            Dim dim = sizes is not null ? sizes[i]
                : s[axis].IsKnown ? SplitSize(s[axis].Size, node.Outputs.Count, i)
                : (Dim)$"{node.Output.Name}_{axis}";
            Set(node, i, x.Type, s.With(axis, dim));
        }

        static long SplitSize(long total, int parts, int index)
        {
            var size = (total + parts - 1) / parts;
            return Math.Min(size, total - (size * index));
        }
    }

    internal static void Slice(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        var dims = s.Dims.ToArray();
        if (SliceRange.Of(node) is { } ranges)
        {
            foreach (var range in ranges)
            {
                dims[range.Axis] = s[range.Axis].IsKnown ? range.Count(s[range.Axis].Size)
                    : range is { Start: 0, End: >= int.MaxValue, Step: 1 } ? s[range.Axis]
                    : (Dim)$"{node.Output.Name}_{range.Axis}";
            }
        }
        else
        {
            var axes = Integers(In(node, 3));
            for (var i = 0; i < dims.Length; i++)
                if (axes is null || axes.Any(a => s.Axis(a) == i)) dims[i] = $"{node.Output.Name}_{i}";
        }
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void Gather(Node node)
    {
        var (x, indices) = (In(node, 0)!, In(node, 1)!);
        if (x.Shape is not { } s || indices.Shape is not { } si)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        var axis = s.Axis(node.Attribute("axis", 0L));
        Set(node, 0, x.Type, new Shape([.. s.Dims[..axis], .. si.Dims, .. s.Dims[(axis + 1)..]]));
    }

    internal static void GatherND(Node node)
    {
        var (x, indices) = (In(node, 0)!, In(node, 1)!);
        Set(node, 0, x.Type, null);
        if (x.Shape is not { } s || indices.Shape is not { } si || !si[-1].IsKnown) return;
        var batch = (int)node.Attribute("batch_dims", 0L);
        Set(node, 0, x.Type, new Shape([.. si.Dims[..^1], .. s.Dims[(batch + (int)si[-1].Size)..]]));
    }

    internal static void Unsqueeze(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s || AttributeOrInput(node, "axes", 1) is not { } axes)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        var rank = s.Rank + axes.Length;
        var ones = axes.Select(a => (int)(a < 0 ? a + rank : a)).ToHashSet();
        var dims = new List<Dim>();
        for (int i = 0, next = 0; i < rank; i++) dims.Add(ones.Contains(i) ? 1 : s[next++]);
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void Squeeze(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        Set(node, 0, x.Type, null);
        var axes = AttributeOrInput(node, "axes", 1)?.Select(a => s.Axis(a)).ToHashSet();
        if (axes is null && !s.IsStatic) return;
        Set(node, 0, x.Type, new Shape(s.Dims.ToArray().Where((d, i) => axes is null ? d != (Dim)1 : !axes.Contains(i))));
    }

    internal static void Expand(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is null || Integers(In(node, 1)) is not { } target)
        {
            var rank = In(node, 1)?.Shape is { Rank: 1 } s && s[0].IsKnown ? s[0].Size : -1;
            Set(node, 0, x.Type, rank >= 0 ? Unknown(Math.Max(rank, x.Shape?.Rank ?? 0), node) : null);
            return;
        }
        var other = new Value(node.Graph, "target") { Type = x.Type, Shape = Shape.Of(target) };
        Set(node, 0, x.Type, BroadcastShape(node, x, other));
    }

    internal static void Tile(Node node)
    {
        var x = In(node, 0)!;
        Set(node, 0, x.Type, null);
        if (x.Shape is not { } s || Integers(In(node, 1)) is not { } repeats) return;
        Set(node, 0, x.Type, new Shape(s.Dims.ToArray().Select((d, i) =>
            d.IsKnown ? checked(d.Size * repeats[i]) : repeats[i] == 1 ? d : (Dim)$"{node.Output.Name}_{i}")));
    }

    internal static void Pad(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s || Pads(node) is not var (before, after))
        {
            Set(node, 0, x.Type, x.Shape is { } sx ? Unknown(sx.Rank, node) : null);
            return;
        }
        Set(node, 0, x.Type, new Shape(s.Dims.ToArray().Select((d, i) => d.IsKnown ? d.Size + before[i] + after[i]
            : before[i] + after[i] == 0 ? d : (Dim)$"{node.Output.Name}_{i}")));
    }

    /// <summary>Cells that a Pad adds before and after each axis; null where they are not constant.</summary>
    internal static (long[] Before, long[] After)? Pads(Node node)
    {
        if (In(node, 0)?.Shape is not { } s || AttributeOrInput(node, "pads", 1) is not { } pads) return null;
        if (In(node, 3) is null) return pads.Length == 2 * s.Rank ? (pads[..s.Rank], pads[s.Rank..])
            : throw Fault(node, $"{2 * s.Rank} pads");
        if (Integers(In(node, 3)) is not { } axes) return null;
        var (before, after) = (new long[s.Rank], new long[s.Rank]);
        for (var i = 0; i < axes.Length; i++) (before[s.Axis(axes[i])], after[s.Axis(axes[i])]) = (pads[i], pads[i + axes.Length]);
        return (before, after);
    }

    internal static void Resize(Node node)
    {
        var x = In(node, 0)!;
        Set(node, 0, x.Type, null);
        if (x.Shape is not { } s) return;
        if (Integers(In(node, 3)) is { } sizes && sizes.Length == s.Rank)
        {
            Set(node, 0, x.Type, Shape.Of(sizes));
            return;
        }
        var scales = In(node, 2) is { IsConstant: true, Data: { Count: > 0 } data } ? data.ToFloats() : null;
        Set(node, 0, x.Type, scales is null ? Unknown(s.Rank, node) : new Shape(s.Dims.ToArray().Select((d, i) =>
            d.IsKnown ? (long)Math.Floor(d.Size * (double)scales[i]) : scales[i] == 1 ? d : (Dim)$"{node.Output.Name}_{i}")));
    }
}
