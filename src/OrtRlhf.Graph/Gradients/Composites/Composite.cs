namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// An operator of ours that stands for several ONNX operators. It has a gradient of its own, better than the one its parts would give,
/// and is lowered to ONNX operators before a model is written.
/// </summary>
internal abstract class Composite
{
    private static readonly Dictionary<string, Composite> Table = new(StringComparer.Ordinal)
    {
        ["GroupNorm"] = new GroupNorm(),
        ["LayerNorm"] = new LayerNorm(),
        ["Attention"] = new Attention(),
        ["Gelu"] = new Gelu(),
        ["Silu"] = new Silu(),
        ["StopGradient"] = new StopGradient(),
    };

    /// <summary>Names of all composites.</summary>
    public static IReadOnlyCollection<string> Names => Table.Keys;

    /// <summary>The composite of a node.</summary>
    public static Composite Of(Node node) => Table.TryGetValue(node.Op, out var composite)
        ? composite
        : throw new UserError($"{node}: no such composite; expected one of {string.Join(", ", Table.Keys)}");

    /// <summary>Adds the ONNX operators, and gives their results in the order of the node's outputs.</summary>
    public abstract Value[] Lower(Node node);

    /// <summary>The gradient of each input.</summary>
    public abstract Value?[] Gradient(NodeGradient g);
}
