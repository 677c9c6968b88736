namespace OrtRlhf.Graph;

/// <summary>One operator application: values in, values out, attributes.</summary>
public sealed class Node
{
    internal Node(OnnxGraph graph, string op, string domain, string name)
    {
        Graph = graph;
        Op = op;
        Domain = domain;
        Name = name;
    }

    /// <summary>The graph it belongs to.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>Operator, such as <c>Conv</c>.</summary>
    public string Op { get; }

    /// <summary>
    /// Operator set: empty for ONNX's own, <see cref="OnnxGraph.CompositeDomain"/> for ours, which are lowered before writing.
    /// </summary>
    public string Domain { get; }

    /// <summary>Its name; the path of the module it came from, such as <c>/mid_block/attentions.0/proj_in/MatMul</c>.</summary>
    public string Name { get; set; }

    /// <summary>Inputs by position; null where an optional one is left out.</summary>
    public List<Value?> Inputs { get; } = [];

    /// <summary>Outputs by position; null where an optional one is left out.</summary>
    public List<Value?> Outputs { get; } = [];

    /// <summary>
    /// Attributes: long, float, string, long[], float[], string[], <see cref="Tensor"/>, or a raw one kept as it was read.
    /// </summary>
    public SortedDictionary<string, object> Attributes { get; } = new(StringComparer.Ordinal);

    /// <summary>Values that a subgraph in an attribute reads, by the names it knows them by.</summary>
    internal Dictionary<string, Value> Captured { get; } = new(StringComparer.Ordinal);

    /// <summary>Every value it reads, once each.</summary>
    internal IEnumerable<Value> Reads => Inputs.OfType<Value>().Concat(Captured.Values).Distinct();

    /// <summary>The first output.</summary>
    public Value Output => Outputs[0]!;

    /// <summary>The input at a position, or null where it is absent.</summary>
    public Value? Input(int index) => index < Inputs.Count ? Inputs[index] : null;

    /// <summary>An attribute's value, or the default where it is absent.</summary>
    public T Attribute<T>(string name, T otherwise) => Attributes.TryGetValue(name, out var value) ? (T)value : otherwise;

    /// <summary>Makes it read other values.</summary>
    internal void Substitute(Func<Value, Value> other)
    {
        for (var i = 0; i < Inputs.Count; i++)
            if (Inputs[i] is { } input) Inputs[i] = other(input);
        foreach (var name in Captured.Keys.ToList()) Captured[name] = other(Captured[name]);
    }

    /// <inheritdoc/>
    public override string ToString() => $"{(Domain.Length > 0 ? Domain + "." : "")}{Op} '{Name}'";
}
