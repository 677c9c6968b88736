namespace OrtRlhf.Graph;

/// <summary>Type and shape inference of our own operators, which are lowered to ONNX's before a model is written.</summary>
internal static class CompositeShapes
{
    /// <summary>Scores a head from which on the heads of an attention run one after the other.</summary>
    public const long LargeHead = 1 << 20;

    private static readonly Dictionary<string, Action<Node>> Table = new(StringComparer.Ordinal)
    {
        ["Attention"] = Attention,
        ["Gelu"] = ShapeRules.Same,
        ["GroupNorm"] = GroupNorm,
        ["LayerNorm"] = LayerNorm,
        ["Silu"] = Silu,
        ["StopGradient"] = ShapeRules.Same,
    };

    /// <summary>Names of all composites.</summary>
    public static IReadOnlyCollection<string> Names => Table.Keys;

    /// <summary>Infers the types and shapes of a composite's outputs.</summary>
    /// <exception cref="UserError">There is no such composite, or the inputs do not fit it.</exception>
    public static void Infer(Node node)
    {
        if (!Table.TryGetValue(node.Op, out var rule))
            throw new UserError($"{node}: no such composite; expected one of {string.Join(", ", Table.Keys)}");
        rule(node);
    }

    private static void Attention(Node node)
    {
        var (q, k, v) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        if (q.Shape is not { } sq || k.Shape is not { } sk || v.Shape is not { } sv) return;
        if (sq[-1].IsKnown && sk[-1].IsKnown && sq[-1] != sk[-1]) throw ShapeRules.Fault(node, "queries and keys of equal width");
        ShapeRules.Set(node, 0, q.Type, sq.With(-1, sv[-1]));
        if (Heads(node) is null) ShapeRules.Set(node, 1, q.Type, sq.With(-1, sk[-2]));
        else for (var i = 1; i < node.Outputs.Count; i++) ShapeRules.Set(node, i, q.Type, Shape.Of(1, sq[-2].Size, sk[-2].Size));
    }

    /// <summary>How many heads of an attention run one after the other; null where all run together.</summary>
    public static long? Heads(Node node)
    {
        var (q, k, v) = (node.Input(0)!, node.Input(1)!, node.Input(2)!);
        if (q.Shape is not { IsStatic: true, Rank: > 2 } sq || k.Shape is not { IsStatic: true } sk
            || v.Shape is not { IsStatic: true } sv) return null;
        if (!sq.Dims[..^2].SequenceEqual(sk.Dims[..^2]) || !sq.Dims[..^2].SequenceEqual(sv.Dims[..^2])) return null;
        if (node.Input(3) is { } mask
            && (mask.Shape is not { IsStatic: true } sm || (sm.Rank > 2 && sm.Sizes[..^2].Any(s => s != 1)))) return null;
        return node.Attribute("one_by_one", sq[-2].Size * sk[-2].Size >= LargeHead ? 1L : 0L) != 0
            ? sq.Count / (sq[-2].Size * sq[-1].Size) : null;
    }

    private static void GroupNorm(Node node)
    {
        var x = node.Input(0)!;
        ShapeRules.Set(node, 0, x.Type, x.Shape);
        if (x.Shape is not { IsStatic: true } s) return;
        var groups = node.Attribute("num_groups", 1L);
        if (s.Rank < 3 || s[1].Size % groups != 0) throw ShapeRules.Fault(node, $"channels that {groups} groups divide");
        ShapeRules.Set(node, 1, ElementType.Float, Shape.Of(s[0].Size, groups, s.Count / (s[0].Size * groups)));
    }

    private static void LayerNorm(Node node)
    {
        var x = node.Input(0)!;
        ShapeRules.Set(node, 0, x.Type, x.Shape);
        ShapeRules.Set(node, 1, ElementType.Float, x.Shape);
    }

    private static void Silu(Node node)
    {
        for (var i = 0; i < node.Outputs.Count; i++) ShapeRules.Set(node, i, node.Input(0)!.Type, node.Input(0)!.Shape);
    }
}
