namespace OrtRlhf.Graph.Passes;

/// <summary>What patterns ask a graph.</summary>
internal sealed class Patterns(OnnxGraph graph)
{
    /// <summary>The nodes that read each value.</summary>
    public Dictionary<Value, List<Node>> Readers { get; } = graph.Readers();

    /// <summary>The node of an operator that makes a value which nothing else reads; else null.</summary>
    public Node? Inner(Value? value, string op) => value is not null && Made(value, op) is { } node && !graph.Outputs.Contains(value)
        && Readers.GetValueOrDefault(value) is [_] ? node : null;

    /// <summary>
    /// The product that makes a value, and the bias that is added to it or null, where nothing else reads what lies between; else null.
    /// </summary>
    public (Node Product, Value? Bias)? Linear(Value? value)
    {
        if (Inner(value, "MatMul") is { } alone) return (alone, null);
        if (Inner(value, "Add") is not { } sum) return null;
        foreach (var (one, bias) in Both(sum))
            if (Inner(one, "MatMul") is { } product) return (product, bias);
        return null;
    }

    /// <summary>The node of an operator that makes a value.</summary>
    public static Node? Made(Value? value, string op) =>
        value?.Producer is { Domain.Length: 0 } node && node.Op == op && node.Outputs[0] == value ? node : null;

    /// <summary>The other one of two inputs.</summary>
    public static Value Other(Node node, Value one) => node.Inputs[0] == one ? node.Inputs[1]! : node.Inputs[0]!;

    /// <summary>A node's two inputs in both orders.</summary>
    public static IEnumerable<(Value First, Value Second)> Both(Node node) =>
        [(node.Inputs[0]!, node.Inputs[1]!), (node.Inputs[1]!, node.Inputs[0]!)];

    /// <summary>A number that does not depend on inputs; null where it is not one.</summary>
    public static double? Number(Value? value, int depth = 8) => value switch
    {
        { IsConstant: true, Data: { Count: 1 } data } when data.Type.IsFloating() => data.ToFloats()[0],
        { Producer: { Domain.Length: 0 } node } when depth > 0 => node.Op switch
        {
            // What folding leaves to the runtime.
            "Pow" when Number(node.Inputs[0], depth - 1) is { } x && Number(node.Inputs[1], depth - 1) is { } p => Math.Pow(x, p),
            "Cast" or "Identity" => Number(node.Inputs[0], depth - 1),
            _ => null,
        },
        _ => null,
    };

    /// <summary>Whether a value is constant and all its elements are one number.</summary>
    public static bool IsAll(Value? value, float number) =>
        value is { IsConstant: true, Data: { } data } && data.ToFloats().All(v => v == number);
}
