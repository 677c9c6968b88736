using static OrtRlhf.Graph.ShapeRules;

namespace OrtRlhf.Graph;

/// <summary>
/// The table of type and shape inference: one rule per operator. An operator without a rule leaves its outputs' shapes unknown.
/// </summary>
public static class OperatorShapes
{
    private delegate void Rule(Node node);

    private static readonly Dictionary<string, Rule> Table = new(StringComparer.Ordinal)
    {
        ["Abs"] = Same,
        ["Acos"] = Same,
        ["Ceil"] = Same,
        ["Clip"] = Same,
        ["Cos"] = Same,
        ["CumSum"] = Same,
        ["Elu"] = Same,
        ["Erf"] = Same,
        ["Exp"] = Same,
        ["Floor"] = Same,
        ["Gelu"] = Same,
        ["HardSigmoid"] = Same,
        ["Identity"] = Same,
        ["LeakyRelu"] = Same,
        ["Log"] = Same,
        ["LogSoftmax"] = Same,
        ["Neg"] = Same,
        ["InstanceNormalization"] = Same,
        ["Dropout"] = Same,
        ["Not"] = Same,
        ["Reciprocal"] = Same,
        ["Relu"] = Same,
        ["Round"] = Same,
        ["Sigmoid"] = Same,
        ["Sign"] = Same,
        ["Sin"] = Same,
        ["Softmax"] = Same,
        ["Softplus"] = Same,
        ["Sqrt"] = Same,
        ["Tanh"] = Same,
        ["Trilu"] = Same,
        ["ScatterElements"] = Same,
        ["ScatterND"] = Same,
        ["GroupNormalization"] = Same,
        ["BatchNormalization"] = Same,
        ["Mish"] = Same,
        ["HardSwish"] = Same,
        ["Add"] = Broadcast,
        ["Sub"] = Broadcast,
        ["Mul"] = Broadcast,
        ["Div"] = Broadcast,
        ["Pow"] = Broadcast,
        ["Max"] = Broadcast,
        ["Min"] = Broadcast,
        ["Mod"] = Broadcast,
        ["Sum"] = Broadcast,
        ["Mean"] = Broadcast,
        ["PRelu"] = Same,
        ["Equal"] = Compare,
        ["Greater"] = Compare,
        ["GreaterOrEqual"] = Compare,
        ["Less"] = Compare,
        ["LessOrEqual"] = Compare,
        ["And"] = Compare,
        ["Or"] = Compare,
        ["Xor"] = Compare,
        ["IsNaN"] = node => Set(node, 0, ElementType.Bool, In(node, 0)?.Shape),
        ["Where"] = Where,
        ["MatMul"] = MatMul,
        ["Gemm"] = Gemm,
        ["Conv"] = Conv,
        ["ConvTranspose"] = ConvTranspose,
        ["Transpose"] = Transpose,
        ["Reshape"] = Reshape,
        ["Flatten"] = Flatten,
        ["Concat"] = Concat,
        ["Split"] = Split,
        ["Slice"] = Slice,
        ["Gather"] = Gather,
        ["GatherElements"] = node => Set(node, 0, In(node, 0)!.Type, In(node, 1)?.Shape),
        ["GatherND"] = GatherND,
        ["Unsqueeze"] = Unsqueeze,
        ["Squeeze"] = Squeeze,
        ["Expand"] = Expand,
        ["Tile"] = Tile,
        ["Pad"] = Pad,
        ["Resize"] = Resize,
        ["LayerNormalization"] = LayerNormalization,
        ["ReduceSum"] = Reduce,
        ["ReduceMean"] = Reduce,
        ["ReduceMax"] = Reduce,
        ["ReduceMin"] = Reduce,
        ["ReduceProd"] = Reduce,
        ["ReduceL1"] = Reduce,
        ["ReduceL2"] = Reduce,
        ["ReduceSumSquare"] = Reduce,
        ["ReduceLogSumExp"] = Reduce,
        ["ArgMax"] = ArgReduce,
        ["ArgMin"] = ArgReduce,
        ["Cast"] = Cast,
        ["Shape"] = ShapeOf,
        ["Size"] = node => Set(node, 0, ElementType.Int64, Shape.Scalar),
        ["ConstantOfShape"] = ConstantOfShape,
        ["Constant"] = ConstantNode,
        ["Range"] = Range,
        ["OneHot"] = OneHot,
        ["DepthToSpace"] = DepthToSpace,
        ["SpaceToDepth"] = SpaceToDepth,
        ["AveragePool"] = Pool,
        ["MaxPool"] = Pool,
        ["GlobalAveragePool"] = GlobalPool,
        ["Einsum"] = Einsum,
    };

    /// <summary>Whether a node's operator has a rule.</summary>
    internal static bool Knows(Node node) =>
        node.Domain == OnnxGraph.CompositeDomain || (node.Domain.Length == 0 && Table.ContainsKey(node.Op));

    /// <summary>Infers the types and shapes of a node's outputs from its inputs.</summary>
    /// <exception cref="UserError">The inputs' shapes do not fit the operator: names the node, the shapes and what was
    /// expected.</exception>
    public static void Infer(Node node)
    {
        if (node.Domain == OnnxGraph.CompositeDomain) CompositeShapes.Infer(node);
        else if (node.Domain.Length == 0 && Table.TryGetValue(node.Op, out var rule)) rule(node);
    }
}
