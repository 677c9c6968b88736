using static OrtRlhf.Graph.Passes.ConstantLayout;

namespace OrtRlhf.Graph.Passes;

/// <summary>
/// The table of operators that can be computed while a graph is edited, over small constants. Transcendental functions are left out: a
/// runtime's differ in
/// the last digit.
/// </summary>
internal static class ConstantEvaluation
{
    private const long Largest = 1 << 16;

    private static readonly Dictionary<string, Func<Node, Tensor[], Tensor?>> Table = new(StringComparer.Ordinal)
    {
        ["Add"] = (n, t) => Elementwise(n, t, (a, b) => a + b, (a, b) => a + b),
        ["Sub"] = (n, t) => Elementwise(n, t, (a, b) => a - b, (a, b) => a - b),
        ["Mul"] = (n, t) => Elementwise(n, t, (a, b) => a * b, (a, b) => a * b),
        ["Div"] = (n, t) => Elementwise(n, t, (a, b) => a / b, (a, b) => a / b),
        ["Mod"] = (n, t) =>
            n.Attribute("fmod", 0L) != 0 ? null : Elementwise(n, t, (a, b) => a - (b * (long)Math.Floor((double)a / b)), null),
        ["Min"] = (n, t) => Elementwise(n, t, Math.Min, Math.Min),
        ["Max"] = (n, t) => Elementwise(n, t, Math.Max, Math.Max),
        ["And"] = (n, t) => Elementwise(n, t, (a, b) => a & b, null),
        ["Or"] = (n, t) => Elementwise(n, t, (a, b) => a | b, null),
        ["Equal"] = (n, t) => Elementwise(n, t, (a, b) => a == b ? 1 : 0, (a, b) => a == b ? 1 : 0),
        ["Greater"] = (n, t) => Elementwise(n, t, (a, b) => a > b ? 1 : 0, (a, b) => a > b ? 1 : 0),
        ["GreaterOrEqual"] = (n, t) => Elementwise(n, t, (a, b) => a >= b ? 1 : 0, (a, b) => a >= b ? 1 : 0),
        ["Less"] = (n, t) => Elementwise(n, t, (a, b) => a < b ? 1 : 0, (a, b) => a < b ? 1 : 0),
        ["LessOrEqual"] = (n, t) => Elementwise(n, t, (a, b) => a <= b ? 1 : 0, (a, b) => a <= b ? 1 : 0),
        ["Not"] = (n, t) => Unary(n, t, a => 1 - a, null),
        ["Neg"] = (n, t) => Unary(n, t, a => -a, a => -a),
        ["Abs"] = (n, t) => Unary(n, t, Math.Abs, Math.Abs),
        ["Sign"] = (n, t) => Unary(n, t, a => Math.Sign(a), a => Math.Sign(a)),
        ["Floor"] = (n, t) => Unary(n, t, null, Math.Floor),
        ["Ceil"] = (n, t) => Unary(n, t, null, Math.Ceiling),
        ["Sqrt"] = (n, t) => Unary(n, t, null, Math.Sqrt),
        ["Reciprocal"] = (n, t) => Unary(n, t, null, a => 1 / a),
        ["Cast"] = (n, t) => Cast(t[0], n.Output.Type),
        ["Where"] = (n, t) => Select(t, n.Output.Sizes),
        ["Range"] = (n, t) => Range(t, n.Output.Sizes[0]),
        ["ConstantOfShape"] = (n, t) => Expand(n.Attribute("value", Tensor.Of([0f], 1)).Reshaped(), n.Output.Sizes),
        ["Constant"] = (n, _) => n.Attributes.GetValueOrDefault("value") as Tensor,
        ["Reshape"] = (n, t) => t[0].Reshaped(n.Output.Sizes),
        ["Flatten"] = (n, t) => t[0].Reshaped(n.Output.Sizes),
        ["Squeeze"] = (n, t) => t[0].Reshaped(n.Output.Sizes),
        ["Unsqueeze"] = (n, t) => t[0].Reshaped(n.Output.Sizes),
        ["Expand"] = (n, t) => Expand(t[0], n.Output.Sizes),
        ["Tile"] = (n, t) => Tile(t[0], n.Output.Sizes),
        ["Transpose"] = (n, t) => Transpose(t[0],
            n.Attribute("perm", Enumerable.Range(0, t[0].Dims.Length).Select(i => (long)(t[0].Dims.Length - 1 - i)).ToArray())),
        ["Slice"] = (n, t) => SliceRange.Of(n) is { } ranges ? Slice(t[0], ranges) : null,
        ["Gather"] = (n, t) => Gather(t[0], t[1], n.Input(0)!.Shape!.Axis(n.Attribute("axis", 0L))),
        ["Concat"] = (n, t) => Concat(t, n.Input(0)!.Shape!.Axis(n.Attribute("axis", 0L))),
        ["Trilu"] = (n, t) => Triangle(t[0], t.Length > 1 ? t[1].ToInt64s()[0] : 0, n.Attribute("upper", 1L) != 0),
    };

    /// <summary>A node's one output where it does not depend on inputs of the graph and is small; else null.</summary>
    public static Tensor? Of(Node node)
    {
        if (node.Outputs.Count(o => o is not null) != 1 || node.Captured.Count > 0) return null;
        if (node.Op is "Shape" or "Size" && node.Input(0)?.Shape is { IsStatic: true } shape) return ShapeData(node, shape);
        if (!Table.TryGetValue(node.Op, out var evaluate) || node.Inputs.Any(i => i is null or { IsConstant: false })) return null;
        if (node.Output is not { Shape: { IsStatic: true } result, Type: not ElementType.Undefined }) return null;
        var data = node.Inputs.Select(i => i!.Data!).ToArray();
        // A weight that only lies otherwise is turned when it is asked for, however large.
        if (node.Op is "Transpose" && data[0].Dims.Length == 2 && data[0].Count > Largest
            && node.Attribute("perm", new long[] { 1, 0 })[0] == 1) return data[0].Transposed();
        return result.Count > Largest || data.Any(d => d.Count > Largest) ? null : evaluate(node, data);
    }

    private static Tensor ShapeData(Node node, Shape shape)
    {
        if (node.Op == "Size") return Tensor.Scalar(shape.Count);
        var (start, end) = ShapeRules.ShapeSpan(node, shape.Rank);
        return Tensor.Vector(start < end ? shape.Sizes[start..end] : []);
    }

    private static Tensor? Unary(Node node, Tensor[] t, Func<long, long>? integers, Func<double, double>? reals) =>
        t[0].Type.IsFloating() ? reals is null ? null : FromReals(node.Output.Type, [.. Reals(t[0]).Select(reals)], t[0].Dims)
        : integers is null ? null : FromIntegers(node.Output.Type, [.. t[0].ToInt64s().Select(integers)], t[0].Dims);

    // In double and rounded once, sums, differences, products and quotients of floats are those of float arithmetic.
    private static Tensor? Elementwise(Node node, Tensor[] t, Func<long, long, long> integers, Func<double, double, double>? reals)
    {
        if (t.Length != 2) return null;
        var dims = node.Output.Sizes;
        Tensor a = Expand(t[0], dims), b = Expand(t[1], dims);
        if (t[0].Type.IsFloating()) return reals is null ? null : FromReals(node.Output.Type, [.. Reals(a).Zip(Reals(b), reals)], dims);
        var divisor = b.ToInt64s();
        if (node.Op is "Div" or "Mod" && divisor.Contains(0)) return null;
        return FromIntegers(node.Output.Type, [.. a.ToInt64s().Zip(divisor, integers)], dims);
    }

    private static Tensor? Cast(Tensor x, ElementType type) => x.Type.IsFloating() && !type.IsFloating() && type != ElementType.Bool
        ? FromIntegers(type, [.. Reals(x).Select(r => (long)r)], x.Dims)
        : x.Type.IsFloating() ? FromReals(type, Reals(x), x.Dims)
        : type.IsFloating() ? FromReals(type, [.. x.ToInt64s().Select(i => (double)i)], x.Dims)
        : FromIntegers(type, x.ToInt64s(), x.Dims);

    private static Tensor? Range(Tensor[] t, long count) => t[0].Type.IsFloating()
        ? FromReals(t[0].Type, [.. Enumerable.Range(0, (int)count).Select(i => Reals(t[0])[0] + (i * Reals(t[2])[0]))], [count])
        : FromIntegers(t[0].Type, [.. Enumerable.Range(0, (int)count).Select(i => t[0].ToInt64s()[0] + (i * t[2].ToInt64s()[0]))], [count]);

    private static double[] Reals(Tensor x) => x.Type == ElementType.Double
        ? [.. Enumerable.Range(0, (int)x.Count).Select(i => BitConverter.ToDouble(x.Bytes(), i * 8))]
        : [.. x.ToFloats().Select(f => (double)f)];

    private static Tensor? FromReals(ElementType type, double[] values, long[] dims) => type switch
    {
        ElementType.Float => Tensor.Of([.. values.Select(v => (float)v)], dims),
        ElementType.Double => new Tensor(type, dims, [.. values.SelectMany(BitConverter.GetBytes)]),
        ElementType.Float16 => new Tensor(type, dims, [.. values.SelectMany(v => BitConverter.GetBytes((Half)v))]),
        ElementType.Bool => Tensor.Of([.. values.Select(v => v != 0)], dims),
        _ => null,
    };

    private static Tensor? FromIntegers(ElementType type, long[] values, long[] dims) => type switch
    {
        ElementType.Int64 => Tensor.Of(values, dims),
        ElementType.Int32 => new Tensor(type, dims, [.. values.SelectMany(v => BitConverter.GetBytes((int)v))]),
        ElementType.Bool => Tensor.Of([.. values.Select(v => v != 0)], dims),
        _ => null,
    };
}
