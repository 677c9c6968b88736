namespace OrtRlhf.Graph;

/// <summary>
/// An edge of a graph: the output of a node, an input of the graph, a constant, or a parameter (an input with a default).
/// Operators on values add nodes to their graph, so that a layer or a loss reads like its formula
/// (see <see cref="Expressions.Functions"/>).
/// </summary>
public sealed class Value
{
    internal Value(OnnxGraph graph, string name)
    {
        Graph = graph;
        Name = name;
    }

    /// <summary>The graph it belongs to.</summary>
    public OnnxGraph Graph { get; }

    /// <summary>Its name, unique in the graph.</summary>
    public string Name { get; internal set; }

    /// <summary>Element type; <see cref="ElementType.Undefined"/> until inferred.</summary>
    public ElementType Type { get; set; }

    /// <summary>Shape; null until inferred.</summary>
    public Shape? Shape { get; set; }

    /// <summary>The node that makes it; null for inputs, constants and parameters.</summary>
    public Node? Producer { get; internal set; }

    /// <summary>Its data when it is a constant, or its default when it is a parameter.</summary>
    public Tensor? Data { get; set; }

    /// <summary>Whether the graph takes it from outside (with a default in <see cref="Data"/>, or without).</summary>
    public bool IsInput { get; internal set; }

    /// <summary>Whether it can never change: it has data and the graph does not take it from outside.</summary>
    public bool IsConstant => Data is not null && !IsInput;

    /// <summary>The sizes, which must be known by now.</summary>
    /// <exception cref="UserError">A dimension is symbolic or not inferred.</exception>
    public long[] Sizes => Shape is { IsStatic: true }
        ? Shape.Sizes
        : throw new UserError($"value '{Name}' of node {Producer?.ToString() ?? "(input)"}: expected a static shape, got "
            + $"{Shape?.ToString() ?? "none"}; freeze the model's dimensions first");

    /// <summary>Sum, broadcast.</summary>
    public static Value operator +(Value a, Value b) => a.Graph.Op("Add", [a, b]);

    /// <summary>Difference, broadcast.</summary>
    public static Value operator -(Value a, Value b) => a.Graph.Op("Sub", [a, b]);

    /// <summary>Product of elements, broadcast.</summary>
    public static Value operator *(Value a, Value b) => a.Graph.Op("Mul", [a, b]);

    /// <summary>Quotient of elements, broadcast.</summary>
    public static Value operator /(Value a, Value b) => a.Graph.Op("Div", [a, b]);

    /// <summary>Negation.</summary>
    public static Value operator -(Value a) => a.Graph.Op("Neg", [a]);

    /// <summary>Sum with a number.</summary>
    public static Value operator +(Value a, double b) => a + a.Graph.Scalar(a.Type, b);

    /// <summary>Difference with a number.</summary>
    public static Value operator -(Value a, double b) => a - a.Graph.Scalar(a.Type, b);

    /// <summary>Difference from a number.</summary>
    public static Value operator -(double a, Value b) => b.Graph.Scalar(b.Type, a) - b;

    /// <summary>Product with a number.</summary>
    public static Value operator *(Value a, double b) => a * a.Graph.Scalar(a.Type, b);

    /// <summary>Product with a number.</summary>
    public static Value operator *(double a, Value b) => b * a;

    /// <summary>Quotient by a number.</summary>
    public static Value operator /(Value a, double b) => a / a.Graph.Scalar(a.Type, b);

    /// <inheritdoc/>
    public override string ToString() => $"{Name}: {Type} {Shape?.ToString() ?? "[?]"}";
}
