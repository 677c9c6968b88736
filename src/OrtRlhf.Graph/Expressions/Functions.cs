namespace OrtRlhf.Graph.Expressions;

/// <summary>
/// Functions on values, so that a layer or a loss reads like its formula: <c>Mean(Max(-A * r, -A * Clip(r, 1 - c, 1 + c)))</c>.
/// Each adds one node (or a few) to the values' graph. Broadcasting is ONNX's (NumPy's).
/// </summary>
public static class Functions
{
    /// <summary>e^x.</summary>
    public static Value Exp(Value x) => Unary("Exp", x);

    /// <summary>Natural logarithm.</summary>
    public static Value Log(Value x) => Unary("Log", x);

    /// <summary>Square root.</summary>
    public static Value Sqrt(Value x) => Unary("Sqrt", x);

    /// <summary>|x|.</summary>
    public static Value Abs(Value x) => Unary("Abs", x);

    /// <summary>sin x, in radians.</summary>
    public static Value Sin(Value x) => Unary("Sin", x);

    /// <summary>cos x, in radians.</summary>
    public static Value Cos(Value x) => Unary("Cos", x);

    /// <summary>tanh x.</summary>
    public static Value Tanh(Value x) => Unary("Tanh", x);

    /// <summary>Error function.</summary>
    public static Value Erf(Value x) => Unary("Erf", x);

    /// <summary>1/(1+e^-x).</summary>
    public static Value Sigmoid(Value x) => Unary("Sigmoid", x);

    /// <summary>ln(1+e^x), computed without overflow.</summary>
    public static Value Softplus(Value x) => Unary("Softplus", x);

    /// <summary>ln sigmoid(x) = -softplus(-x).</summary>
    public static Value LogSigmoid(Value x) => -Softplus(-x);

    /// <summary>max(x, 0).</summary>
    public static Value Relu(Value x) => Unary("Relu", x);

    /// <summary>x sigmoid(x), also called swish.</summary>
    public static Value Silu(Value x) => x.Graph.Op("Silu", OnnxGraph.CompositeDomain, 2, [x])[0];

    /// <summary>x Phi(x), with the exact normal distribution function.</summary>
    public static Value Gelu(Value x) => x.Graph.Op("Gelu", OnnxGraph.CompositeDomain, 1, [x])[0];

    /// <summary>x sigmoid(1.702 x), the approximation that the first CLIP models use.</summary>
    public static Value QuickGelu(Value x) => x * Sigmoid(x * 1.702);

    /// <summary>The approximation of gelu by tanh.</summary>
    public static Value GeluTanh(Value x) => x * 0.5 * (Tanh((x + (x * x * x * 0.044715)) * Math.Sqrt(2 / Math.PI)) + 1);

    /// <summary>x^2.</summary>
    public static Value Square(Value x) => x * x;

    /// <summary>x^p with a constant exponent.</summary>
    public static Value Pow(Value x, double exponent) => x.Graph.Op("Pow", [x, x.Graph.Scalar(x.Type, exponent)]);

    /// <summary>The larger of two, element by element.</summary>
    public static Value Max(Value a, Value b) => a.Graph.Op("Max", [a, b]);

    /// <summary>The smaller of two, element by element.</summary>
    public static Value Min(Value a, Value b) => a.Graph.Op("Min", [a, b]);

    /// <summary>x limited to [low, high].</summary>
    public static Value Clip(Value x, double low, double high) =>
        x.Graph.Op("Clip", [x, x.Graph.Scalar(x.Type, low), x.Graph.Scalar(x.Type, high)]);

    /// <summary>a where the condition holds, b elsewhere.</summary>
    public static Value Where(Value condition, Value a, Value b) => a.Graph.Op("Where", [condition, a, b]);

    /// <summary>a &gt; b.</summary>
    public static Value Greater(Value a, Value b) => a.Graph.Op("Greater", [a, b]);

    /// <summary>Conversion to another element type.</summary>
    public static Value Cast(Value x, ElementType type) => x.Type == type ? x : x.Graph.Op("Cast", [x], ("to", (long)type));

    /// <summary>The same numbers, through which no gradient flows.</summary>
    public static Value StopGradient(Value x) => x.Graph.Op("StopGradient", OnnxGraph.CompositeDomain, 1, [x])[0];

    /// <summary>Matrix product over the last two axes, batched over the others.</summary>
    public static Value MatMul(Value a, Value b) => a.Graph.Op("MatMul", [a, b]);

    /// <summary>a b + c on matrices, each side transposed if asked.</summary>
    public static Value Gemm(Value a, Value b, Value? c = null, bool transposeA = false, bool transposeB = false) =>
        a.Graph.Op("Gemm", c is null ? [a, b] : [a, b, c], ("transA", transposeA ? 1L : 0L), ("transB", transposeB ? 1L : 0L));

    /// <summary>Softmax over an axis.</summary>
    public static Value Softmax(Value x, int axis = -1) => x.Graph.Op("Softmax", [x], ("axis", (long)axis));

    /// <summary>Sum over axes (all where none are given), which stay as ones if <paramref name="keepDims"/>.</summary>
    public static Value Sum(Value x, long[]? axes = null, bool keepDims = false)
    {
        if (axes is { Length: 0 }) return x;
        var graph = x.Graph;
        return graph.Op("ReduceSum", axes is null ? [x] : [x, graph.Constant(Tensor.Vector(axes))], ("keepdims", keepDims ? 1L : 0L));
    }

    /// <summary>Mean over axes (all where none are given), which stay as ones if <paramref name="keepDims"/>.</summary>
    public static Value Mean(Value x, long[]? axes = null, bool keepDims = false)
    {
        var graph = x.Graph;
        var keep = ("keepdims", (object)(keepDims ? 1L : 0L));
        if (axes is null) return graph.Op("ReduceMean", [x], keep);
        return graph.Opset >= 18
            ? graph.Op("ReduceMean", [x, graph.Constant(Tensor.Vector(axes))], keep)
            : graph.Op("ReduceMean", [x], keep, ("axes", axes));
    }

    /// <summary>Mean over all axes but the first: [B, ...] to [B].</summary>
    public static Value MeanPerSample(Value x) => Mean(x, [.. Enumerable.Range(1, x.Shape!.Rank - 1).Select(i => (long)i)]);

    /// <summary>
    /// Layer normalisation over the last axis: (x - mean) / sqrt(variance + epsilon) * scale + bias. Source: Ba et al., 2016.
    /// </summary>
    public static Value LayerNorm(Value x, Value scale, Value? bias, double epsilon) =>
        x.Graph.Op("LayerNorm", OnnxGraph.CompositeDomain, 2, bias is null ? [x, scale] : [x, scale, bias], ("epsilon", (float)epsilon))[0];

    /// <summary>
    /// Group normalisation of [B, C, ...]: mean and variance over each of the groups of channels, then scale and bias [C] per channel.
    /// Source: Wu and He, 2018.
    /// </summary>
    public static Value GroupNorm(Value x, Value scale, Value bias, long groups, double epsilon) =>
        x.Graph.Op("GroupNorm", OnnxGraph.CompositeDomain, 2, [x, scale, bias], ("num_groups", groups), ("epsilon", (float)epsilon))[0];

    /// <summary>
    /// Attention softmax(scale q k^T + mask) v over the last two axes: q [..., S, d], k [..., T, d], v [..., T, e], mask broadcast to [...,
    /// S, T];
    /// gives [..., S, e]. Source: Vaswani et al., 2017.
    /// </summary>
    public static Value Attention(Value q, Value k, Value v, double scale, Value? mask = null) =>
        q.Graph.Op("Attention", OnnxGraph.CompositeDomain, 2, mask is null ? [q, k, v] : [q, k, v, mask], ("scale", (float)scale))[0];

    /// <summary>
    /// Convolution of [B, C, H, W] with weight [O, C/groups, kh, kw].
    /// </summary>
    /// <param name="x">Input.</param>
    /// <param name="weight">Weight.</param>
    /// <param name="bias">Bias [O], or null.</param>
    /// <param name="stride">Step in both directions.</param>
    /// <param name="pads">Cells added at top, left, bottom, right.</param>
    public static Value Conv(Value x, Value weight, Value? bias, long stride = 1, long[]? pads = null) => x.Graph.Op(
        "Conv",
        bias is null ? [x, weight] : [x, weight, bias],
        ("kernel_shape", weight.Shape!.Dims[2..].ToArray().Select(d => d.Size).ToArray()),
        ("strides", new[] { stride, stride }),
        ("pads", pads ?? [0, 0, 0, 0]),
        ("dilations", new[] { 1L, 1L }),
        ("group", 1L));

    /// <summary>Enlarges [B, C, H, W] by a whole factor, repeating the nearest cell.</summary>
    public static Value UpsampleNearest(Value x, long factor = 2) => x.Graph.Op(
        "Resize",
        [x, null, x.Graph.Constant(Tensor.Of([1f, 1f, factor, factor], 4))],
        ("mode", "nearest"), ("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor"));

    private static Value Unary(string op, Value x) => x.Graph.Op(op, [x]);
}
