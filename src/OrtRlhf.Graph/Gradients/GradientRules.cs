using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Gradients;

/// <summary>
/// The table of gradient rules. An operator is in one of three states: it has a rule; no gradient flows through it; or it must not be
/// differentiated (the error says why). Rules need not undo broadcasting: the builder does that once for all.
/// </summary>
public static class GradientRules
{
    /// <summary>Gives the gradient of each input, null where none is wanted.</summary>
    public delegate IReadOnlyList<Value?> Rule(NodeGradient g);

    private static readonly Dictionary<string, Rule> Table = new(StringComparer.Ordinal)
    {
        // Elementwise: y = f(x), dx = dy f'(x).
        ["Identity"] = g => [g.Dy],
        ["Neg"] = g => [-g.Dy],
        ["Abs"] = g => [g.Dy * g.Graph.Op("Sign", [g.In(0)])],
        ["Exp"] = g => [g.Dy * g.Out(0)],
        ["Log"] = g => [g.Dy / g.In(0)],
        ["Sqrt"] = g => [g.Dy * 0.5 / g.Out(0)],
        ["Reciprocal"] = g => [-(g.Dy * Square(g.Out(0)))],
        ["Sin"] = g => [g.Dy * Cos(g.In(0))],
        ["Cos"] = g => [-(g.Dy * Sin(g.In(0)))],
        ["Tanh"] = g => [g.Dy * (1 - Square(g.Out(0)))],
        ["Erf"] = g => [g.Dy * (Exp(-Square(g.In(0))) * (2 / Math.Sqrt(Math.PI)))],
        ["Sigmoid"] = g => [g.Dy * (g.Out(0) * (1 - g.Out(0)))],
        ["Softplus"] = g => [g.Dy * Sigmoid(g.In(0))],
        ["Relu"] = g => [Where(Greater(g.Out(0), g.Graph.Scalar(g.Out(0).Type, 0)), g.Dy, g.Graph.Scalar(g.Dy.Type, 0))],
        ["LeakyRelu"] = Elementwise.LeakyRelu,
        ["Gelu"] = Elementwise.Gelu,
        ["Clip"] = Elementwise.Clip,
        ["Cast"] = g => [Cast(g.Dy, g.In(0).Type)],
        ["Dropout"] = Elementwise.Dropout,

        // Two inputs.
        ["Add"] = g => [g.Dy, g.Dy],
        ["Sub"] = g => [g.Dy, g.Needs(1) ? -g.Dy : null],
        ["Mul"] = g => [g.Needs(0) ? g.Dy * g.In(1) : null, g.Needs(1) ? g.Dy * g.In(0) : null],
        ["Div"] = g => [g.Needs(0) ? g.Dy / g.In(1) : null, g.Needs(1) ? -(g.Dy * g.Out(0) / g.In(1)) : null],
        ["Pow"] = Elementwise.Power,
        ["Max"] = Elementwise.Extreme,
        ["Min"] = Elementwise.Extreme,
        ["Sum"] = g => [.. g.Node.Inputs.Select(_ => g.Dy)],
        ["Mean"] = g => [.. Enumerable.Repeat(g.Dy * (1.0 / g.Node.Inputs.Count), g.Node.Inputs.Count)],
        ["Where"] = g => [null, g.Needs(1) ? Where(g.In(0), g.Dy, g.Graph.Scalar(g.Dy.Type, 0)) : null, g.Needs(2)
            ? Where(g.In(0), g.Graph.Scalar(g.Dy.Type, 0), g.Dy) : null],

        // Products.
        ["MatMul"] = Products.MatMul,
        ["Gemm"] = Products.Gemm,
        ["Einsum"] = Products.Einsum,
        ["Conv"] = Convolution.Conv,
        ["ConvTranspose"] = Convolution.ConvTranspose,

        // Normalisation and softmax.
        ["Softmax"] = Normalisation.Softmax,
        ["LogSoftmax"] = Normalisation.LogSoftmax,
        ["LayerNormalization"] = Normalisation.LayerNorm,
        ["InstanceNormalization"] = Normalisation.InstanceNorm,
        ["GroupNormalization"] = Normalisation.GroupNorm,

        // Sums.
        ["ReduceSum"] = Reductions.Sum,
        ["ReduceMean"] = Reductions.Mean,
        ["ReduceMax"] = Reductions.Extreme,
        ["ReduceMin"] = Reductions.Extreme,
        ["ReduceSumSquare"] = Reductions.SumSquare,
        ["ReduceL1"] = Reductions.L1,
        ["ReduceL2"] = Reductions.L2,
        ["ReduceLogSumExp"] = Reductions.LogSumExp,

        // Layout: the same elements in other places.
        ["Reshape"] = g => [g.Dy.ReshapeLike(g.In(0)), null],
        ["Flatten"] = g => [g.Dy.ReshapeLike(g.In(0))],
        ["Squeeze"] = g => [g.Dy.ReshapeLike(g.In(0)), null],
        ["Unsqueeze"] = g => [g.Dy.ReshapeLike(g.In(0)), null],
        ["Expand"] = g => [g.Dy, null],
        ["Tile"] = Movement.Tile,
        ["Transpose"] = Movement.Transpose,
        ["Concat"] = Movement.Concat,
        ["Split"] = Movement.Split,
        ["Slice"] = Movement.Slice,
        ["Pad"] = Movement.Pad,
        ["Gather"] = Movement.Gather,
        ["GatherElements"] = Movement.GatherElements,
        ["DepthToSpace"] = Movement.DepthToSpace,
        ["SpaceToDepth"] = g => [g.Graph.Op("DepthToSpace", [g.Dy], ("blocksize", g.Node.Attribute("blocksize", 1L)))],
        ["Resize"] = Resampling.Resize,
        ["AveragePool"] = Resampling.AveragePool,
        ["GlobalAveragePool"] = Resampling.GlobalAveragePool,
    };

    /// <summary>Operators through which no gradient flows: their result is an integer, a truth value, or piecewise constant.</summary>
    private static readonly HashSet<string> NoGradient = new(StringComparer.Ordinal)
    {
        "Shape", "Size", "Constant", "ConstantOfShape", "Range", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or",
            "Not", "Xor",
        "ArgMax", "ArgMin", "Floor", "Ceil", "Round", "Sign", "OneHot", "IsNaN", "IsInf", "NonZero", "EyeLike", "RandomNormal",
            "RandomNormalLike", "RandomUniform",
    };

    /// <summary>Operators that must not be differentiated, with the reason.</summary>
    private static readonly Dictionary<string, string> Refused = new(StringComparer.Ordinal)
    {
        ["Loop"] = "control flow has no static backward graph",
        ["If"] = "control flow has no static backward graph",
        ["Scan"] = "control flow has no static backward graph",
        ["QuantizeLinear"] = "quantised weights carry no gradient",
        ["DequantizeLinear"] = "quantised weights carry no gradient",
        ["DynamicQuantizeLinear"] = "quantised weights carry no gradient",
        ["TopK"] = "the chosen places are not differentiable",
        ["BatchNormalization"] = "its statistics are part of training state",
    };

    /// <summary>Operators that have a rule.</summary>
    public static IReadOnlyCollection<string> Differentiable => Table.Keys;

    /// <summary>Whether an operator can lie on the way from parameters to loss.</summary>
    public static bool Supports(Node node) => node.Domain == OnnxGraph.CompositeDomain
        || (node.Domain.Length == 0 && (Table.ContainsKey(node.Op) || NoGradient.Contains(node.Op)));

    /// <summary>Whether no gradient flows through a node.</summary>
    internal static bool StopsAt(Node node) =>
        node.Domain == OnnxGraph.CompositeDomain ? node.Op == "StopGradient" : NoGradient.Contains(node.Op);

    /// <summary>The rule of a node's operator.</summary>
    /// <exception cref="UserError">There is none: names the node, its operator set and what to do.</exception>
    internal static Rule Of(Node node)
    {
        if (node.Domain.Length == 0 && Table.TryGetValue(node.Op, out var rule)) return rule;
        throw node.Domain.Length == 0 && Refused.TryGetValue(node.Op, out var reason)
            ? new UserError($"{node}: {node.Op} must not be differentiated ({reason}); choose LoRA targets behind it")
            : new UserError($"{node}: no gradient rule for operator {(node.Domain.Length > 0 ? node.Domain + "." : "")}{node.Op} (opset "
                + $"{node.Graph.Opset}); export the model without fused operators, or choose LoRA targets behind it");
    }
}
