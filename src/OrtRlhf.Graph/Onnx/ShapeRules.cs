namespace OrtRlhf.Graph;

/// <summary>The rules of <see cref="OperatorShapes"/>, each as the operator's definition in the ONNX standard says.</summary>
internal static partial class ShapeRules
{
    internal static Value? In(Node node, int index) => node.Input(index);

    internal static void Set(Node node, int output, ElementType type, Shape? shape)
    {
        if (output >= node.Outputs.Count || node.Outputs[output] is not { } value) return;
        if (shape is not null && !IsPossible(shape)) throw Fault(node, $"sizes that can be for output {output}, they come to {shape}");
        if (type != ElementType.Undefined) value.Type = type;
        if (shape is not null) value.Shape = shape;
    }

    /// <summary>Whether no size is negative and the elements can be counted.</summary>
    private static bool IsPossible(Shape shape)
    {
        var count = 1.0;
        foreach (var dim in shape.Dims)
        {
            if (!dim.IsKnown) continue;
            if (dim.Size < 0) return false;
            count *= Math.Max(1, dim.Size);
        }
        return count < long.MaxValue / 16;
    }

    internal static UserError Fault(Node node, string expected) =>
        new($"{node}: expected {expected}, got {string.Join(" and ", node.Inputs.OfType<Value>().Select(i => $"{i.Type}{i.Shape}"))}");

    private const long LargestRank = 64;

    internal static Shape? Unknown(long rank, Node node) =>
        rank > LargestRank ? null : new Shape(Enumerable.Range(0, (int)rank).Select(i => (Dim)$"{node.Output.Name}_{i}"));

    internal static long[]? Integers(Value? value) =>
        value is { IsConstant: true, Data: { } data } && data.Count <= 4096 ? data.ToInt64s() : null;

    /// <summary>Axes, starts and the like: an attribute in older operator sets, a constant input in newer ones.</summary>
    internal static long[]? AttributeOrInput(Node node, string name, int input) =>
        node.Attributes.TryGetValue(name, out var value) ? (long[])value : Integers(In(node, input));

    internal static void Same(Node node) => Set(node, 0, In(node, 0)!.Type, In(node, 0)!.Shape);

    internal static Shape? BroadcastShape(Node node, params IEnumerable<Value?> values)
    {
        var shapes = values.OfType<Value>().Select(v => v.Shape).ToList();
        if (shapes.Any(s => s is null)) return null;
        var rank = shapes.Max(s => s!.Rank);
        var dims = new Dim[rank];
        for (var i = 0; i < rank; i++)
        {
            Dim dim = 1;
            foreach (var shape in shapes)
            {
                var axis = i - (rank - shape!.Rank);
                if (axis < 0) continue;
                var other = shape[axis];
                if (other == (Dim)1 || other == dim) continue;
                if (dim == (Dim)1 || (!dim.IsKnown && other.IsKnown)) dim = other;
                else if (dim.IsKnown && other.IsKnown) throw Fault(node, "shapes that broadcast");
            }
            dims[i] = dim;
        }
        return new Shape(dims);
    }

    internal static void Broadcast(Node node) =>
        Set(node, 0, node.Inputs.Select(i => i!.Type).FirstOrDefault(t => t != ElementType.Undefined), BroadcastShape(node, node.Inputs));

    internal static void Compare(Node node) => Set(node, 0, ElementType.Bool, BroadcastShape(node, node.Inputs));

    internal static void Where(Node node) => Set(node, 0, In(node, 1)!.Type, BroadcastShape(node, node.Inputs));

    internal static void MatMul(Node node)
    {
        var (a, b) = (In(node, 0)!, In(node, 1)!);
        if (a.Shape is not { } sa || b.Shape is not { } sb || sa.Rank == 0 || sb.Rank == 0)
        {
            Set(node, 0, a.Type, null);
            return;
        }
        var inner = sb.Rank == 1 ? sb[0] : sb[-2];
        if (sa[-1].IsKnown && inner.IsKnown && sa[-1] != inner) throw Fault(node, "inner dimensions that agree");
        var dims = new List<Dim>();
        var rank = Math.Max(sa.Rank, sb.Rank);
        for (var i = 0; i < rank - 2; i++)
        {
            int ia = i - (rank - sa.Rank), ib = i - (rank - sb.Rank);
            Dim da = ia >= 0 ? sa[ia] : 1, db = ib >= 0 ? sb[ib] : 1;
            if (da.IsKnown && db.IsKnown && da != db && da.Size != 1 && db.Size != 1) throw Fault(node, "batch dimensions that broadcast");
            dims.Add(da == (Dim)1 ? db : db == (Dim)1 || da.IsKnown ? da : db);
        }
        if (sa.Rank > 1) dims.Add(sa[-2]);
        if (sb.Rank > 1) dims.Add(sb[-1]);
        Set(node, 0, a.Type, new Shape(dims));
    }

    internal static void Gemm(Node node)
    {
        var (a, b) = (In(node, 0)!, In(node, 1)!);
        Set(node, 0, a.Type, null);
        if (a.Shape is not { Rank: 2 } sa || b.Shape is not { Rank: 2 } sb) return;
        bool ta = node.Attribute("transA", 0L) != 0, tb = node.Attribute("transB", 0L) != 0;
        if (sa[ta ? 0 : 1] is { IsKnown: true } ka && sb[tb ? 1 : 0] is { IsKnown: true } kb && ka != kb) throw Fault(node,
            "inner dimensions that agree");
        Set(node, 0, a.Type, new Shape(sa[ta ? 1 : 0], sb[tb ? 0 : 1]));
    }

    private static Dim Spatial(Dim size, Func<long, long> formula, Node node, int axis) =>
        size.IsKnown ? (Dim)formula(size.Size) : (Dim)$"{node.Output.Name}_{axis}";

    internal static void Conv(Node node)
    {
        var (x, w) = (In(node, 0)!, In(node, 1)!);
        if (x.Shape is not { } sx || w.Shape is not { } sw)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        var spatial = sx.Rank - 2;
        var group = node.Attribute("group", 1L);
        if (sx[1].IsKnown && sw[1].IsKnown && sx[1].Size != sw[1].Size * group) throw Fault(node, $"{sw[1].Size * group} input channels");
        var window = Window.Of(node, spatial, sw);
        var dims = new List<Dim> { sx[0], sw[0] };
        for (var i = 0; i < spatial; i++)
        {
            var n = i;
            dims.Add(Spatial(sx[2 + i], size => window.OutputSize(n, size), node, 2 + i));
        }
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void ConvTranspose(Node node)
    {
        var (x, w) = (In(node, 0)!, In(node, 1)!);
        Set(node, 0, x.Type, null);
        if (x.Shape is not { } sx || w.Shape is not { } sw) return;
        var spatial = sx.Rank - 2;
        var window = Window.Of(node, spatial, sw);
        var extra = node.Attribute("output_padding", new long[spatial]);
        var dims = new List<Dim> { sx[0], sw[1].Size * node.Attribute("group", 1L) };
        for (var i = 0; i < spatial; i++)
        {
            var n = i;
            dims.Add(Spatial(sx[2 + i], size =>
                (window.Strides[n] * (size - 1)) + extra[n] + window.Reach(n) - window.Before[n] - window.After[n], node, 2 + i));
        }
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void Pool(Node node)
    {
        var x = In(node, 0)!;
        Set(node, 0, x.Type, null);
        if (x.Shape is not { } sx) return;
        var kernel = node.Attribute("kernel_shape", Array.Empty<long>());
        var window = Window.Of(node, kernel.Length, Shape.Of([1, 1, .. kernel]));
        var ceil = node.Attribute("ceil_mode", 0L) != 0;
        var dims = new List<Dim> { sx[0], sx[1] };
        for (var i = 0; i < kernel.Length; i++)
        {
            var n = i;
            dims.Add(Spatial(sx[2 + i], size => window.OutputSize(n, size, ceil), node, 2 + i));
        }
        Set(node, 0, x.Type, new Shape(dims));
    }

    internal static void GlobalPool(Node node)
    {
        Set(node, 0, In(node, 0)!.Type, null);
        if (In(node, 0)!.Shape is { } s) Set(node, 0, In(node, 0)!.Type, new Shape(s.Dims.ToArray().Select((d, i) => i < 2 ? d : 1)));
    }

    internal static void LayerNormalization(Node node)
    {
        var x = In(node, 0)!;
        Set(node, 0, x.Type, x.Shape);
        if (x.Shape is not { } s) return;
        var axis = s.Axis(node.Attribute("axis", -1L));
        var row = new Shape(s.Dims.ToArray().Select((d, i) => i < axis ? d : 1));
        Set(node, 1, ElementType.Float, row);
        Set(node, 2, ElementType.Float, row);
    }

    internal static void Reduce(Node node)
    {
        var x = In(node, 0)!;
        if (x.Shape is not { } s)
        {
            Set(node, 0, x.Type, null);
            return;
        }
        Set(node, 0, x.Type, ReducedShape(node, s, AttributeOrInput(node, "axes", 1)));
    }

    internal static void ArgReduce(Node node)
    {
        Set(node, 0, ElementType.Int64, null);
        if (In(node, 0)!.Shape is { } s) Set(node, 0, ElementType.Int64, ReducedShape(node, s, [node.Attribute("axis", 0L)]));
    }

    private static Shape? ReducedShape(Node node, Shape s, long[]? axes)
    {
        if (axes is null && In(node, 1) is not null) return null;
        if (axes is { Length: 0 } && node.Attribute("noop_with_empty_axes", 0L) != 0) return s;
        var reduced = axes is null or { Length: 0 } ? [.. Enumerable.Range(0, s.Rank)] : axes.Select(a => s.Axis(a)).ToHashSet();
        return node.Attribute("keepdims", 1L) != 0
            ? new Shape(s.Dims.ToArray().Select((d, i) => reduced.Contains(i) ? 1 : d))
            : new Shape(s.Dims.ToArray().Where((_, i) => !reduced.Contains(i)));
    }

    internal static void Cast(Node node) => Set(node, 0, (ElementType)node.Attribute("to", 1L), In(node, 0)!.Shape);

    internal static void ShapeOf(Node node)
    {
        if (In(node, 0)!.Shape is not { } s)
        {
            Set(node, 0, ElementType.Int64, null);
            return;
        }
        var (start, end) = ShapeSpan(node, s.Rank);
        Set(node, 0, ElementType.Int64, Shape.Of(Math.Max(0, end - start)));
    }

    internal static (int Start, int End) ShapeSpan(Node node, int rank)
    {
        long start = node.Attribute("start", 0L), end = node.Attribute("end", (long)rank);
        return ((int)Math.Clamp(start < 0 ? start + rank : start, 0, rank), (int)Math.Clamp(end < 0 ? end + rank : end, 0, rank));
    }

    internal static void ConstantOfShape(Node node)
    {
        var type = node.Attributes.TryGetValue("value", out var value) ? ((Tensor)value).Type : ElementType.Float;
        Set(node, 0, type, Integers(In(node, 0)) is { } dims ? Shape.Of(dims)
            : In(node, 0)!.Shape is { Rank: 1 } s && s[0].IsKnown ? Unknown(s[0].Size, node) : null);
    }

    internal static void ConstantNode(Node node)
    {
        if (node.Attributes.TryGetValue("value", out var value) && value is Tensor tensor) Set(node, 0, tensor.Type, tensor.Shape);
    }

    internal static void Range(Node node)
    {
        var (start, limit, delta) = (Integers(In(node, 0)), Integers(In(node, 1)), Integers(In(node, 2)));
        var isInteger = !In(node, 0)!.Type.IsFloating();
        Set(node, 0, In(node, 0)!.Type, isInteger && start is not null && limit is not null && delta is not null
            ? Shape.Of(Math.Max(0, (long)Math.Ceiling((limit[0] - start[0]) / (double)delta[0]))) : Unknown(1, node));
    }

    internal static void OneHot(Node node)
    {
        Set(node, 0, In(node, 2)!.Type, null);
        if (In(node, 0)!.Shape is not { } s || Integers(In(node, 1)) is not { } depth) return;
        var axis = node.Attribute("axis", -1L);
        var dims = s.Dims.ToArray().ToList();
        dims.Insert((int)(axis < 0 ? axis + s.Rank + 1 : axis), depth[0]);
        Set(node, 0, In(node, 2)!.Type, new Shape(dims));
    }

    internal static void DepthToSpace(Node node)
    {
        Set(node, 0, In(node, 0)!.Type, null);
        if (In(node, 0)!.Shape is not { IsStatic: true } s) return;
        var b = node.Attribute("blocksize", 1L);
        Set(node, 0, In(node, 0)!.Type, Shape.Of(s[0].Size, s[1].Size / (b * b), s[2].Size * b, s[3].Size * b));
    }

    internal static void SpaceToDepth(Node node)
    {
        Set(node, 0, In(node, 0)!.Type, null);
        if (In(node, 0)!.Shape is not { IsStatic: true } s) return;
        var b = node.Attribute("blocksize", 1L);
        Set(node, 0, In(node, 0)!.Type, Shape.Of(s[0].Size, s[1].Size * b * b, s[2].Size / b, s[3].Size / b));
    }

    internal static void Einsum(Node node)
    {
        var equation = node.Attribute("equation", "").Replace(" ", "");
        Set(node, 0, In(node, 0)!.Type, null);
        var sides = equation.Split("->");
        if (sides.Length != 2 || equation.Contains('.') || node.Inputs.Any(i => i?.Shape is null)) return;
        var sizes = new Dictionary<char, Dim>();
        foreach (var (term, input) in sides[0].Split(',').Zip(node.Inputs))
            for (var i = 0; i < term.Length; i++) sizes[term[i]] = input!.Shape![i];
        Set(node, 0, In(node, 0)!.Type, new Shape(sides[1].Select(c => sizes[c])));
    }
}
