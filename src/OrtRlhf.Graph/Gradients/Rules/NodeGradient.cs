using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>What a gradient rule sees: a node, the gradients of its outputs, and which inputs' gradients are wanted.</summary>
public sealed class NodeGradient
{
    private readonly IReadOnlyList<Value?> _upstream;
    private readonly Func<Value, bool> _needs;

    internal NodeGradient(Node node, IReadOnlyList<Value?> upstream, Func<Value, bool> needs, GradientOptions options)
    {
        Node = node;
        Options = options;
        _upstream = upstream;
        _needs = needs;
    }

    /// <summary>The node.</summary>
    public Node Node { get; }

    /// <summary>What to prefer.</summary>
    public GradientOptions Options { get; }

    /// <summary>Its graph, to which a rule adds the backward nodes.</summary>
    public OnnxGraph Graph => Node.Graph;

    /// <summary>
    /// An input that must be there. A weight that lies as halves is made single anew, so that it is not kept from the forward pass on.
    /// </summary>
    public Value In(int index) => Node.Input(index) is not { } input ? throw new UserError($"{Node}: input {index} is missing")
        : HalfWeight.Of(input) is { } half ? Functions.Cast(half, input.Type) : input;

    /// <summary>An output; one that the node left out is added to it.</summary>
    public Value Out(int index)
    {
        while (Node.Outputs.Count <= index) Node.Outputs.Add(null);
        if (Node.Outputs[index] is { } output) return output;
        var added = Graph.NewValue($"{Node.Output.Name}/output{index}", Node);
        Node.Outputs[index] = added;
        OperatorShapes.Infer(Node);
        return added;
    }

    /// <summary>dLoss/dOutput, or null where the loss does not depend on that output.</summary>
    public Value? Upstream(int output) => output < _upstream.Count ? _upstream[output] : null;

    /// <summary>dLoss/dOutput of the first output.</summary>
    public Value Dy => Upstream(0)!;

    /// <summary>Whether the gradient of an input is wanted.</summary>
    public bool Needs(int input) => Node.Input(input) is { } value && _needs(value);

    /// <summary>Zeros of a value's shape.</summary>
    public Value ZerosLike(Value x) => Graph.Scalar(x.Type, 0).Expand(x.Sizes);
}
