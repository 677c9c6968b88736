using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Gradients.Cases;

internal static partial class RuleCases
{
    private static Dictionary<string, Func<OnnxGraph, Value>> Normalisations() => new()
    {
        ["Softmax"] = g => Softmax(P(g, 2, 3, 4)),
        ["Softmax of the first axis"] = g => Softmax(P(g, 3, 2), 0),
        ["Softmax of the middle axis"] = g => Softmax(P(g, 2, 3, 2), -2),
        ["LogSoftmax"] = g => g.Op("LogSoftmax", [P(g, 2, 3)]),
        ["LogSoftmax of the first axis"] = g => g.Op("LogSoftmax", [P(g, 3, 2)], ("axis", 0L)),
        ["LayerNorm"] = g => LayerNorm(P(g, 2, 3, 4), P(g, 4), P(g, 4), 1e-5),
        ["LayerNorm without bias"] = g => LayerNorm(P(g, 3, 4), P(g, 4), null, 1e-2),
        ["LayerNormalization"] = g => g.Op("LayerNormalization", [P(g, 2, 3, 4), P(g, 4), P(g, 4)]),
        ["LayerNormalization of two axes"] = g => g.Op("LayerNormalization", [P(g, 2, 3, 4), P(g, 3, 4), P(g, 3, 4)], ("axis", -2L)),
        ["LayerNormalization of all axes"] = g => g.Op("LayerNormalization", [P(g, 3, 4), P(g, 3, 4), P(g, 3, 4)], ("axis", 0L)),
        ["LayerNormalization with one scale for all"] = g => g.Op("LayerNormalization", [P(g, 3, 4), P(g, 1), P(g, 1)]),
        ["InstanceNormalization"] = g => g.Op("InstanceNormalization", [P(g, 2, 3, 2, 3), P(g, 3), P(g, 3)]),
        ["InstanceNormalization of rows"] = g => g.Op("InstanceNormalization", [P(g, 2, 2, 5), P(g, 2), P(g, 2)], ("epsilon", 1e-2f)),
        ["GroupNormalization, scale by channel"] = Opset(21, g =>
            g.Op("GroupNormalization", [P(g, 2, 4, 3), P(g, 4), P(g, 4)], ("num_groups", 2L))),
        ["GroupNormalization, scale by group"] = Opset(18, g =>
            g.Op("GroupNormalization", [P(g, 2, 4, 3), P(g, 2), P(g, 2)], ("num_groups", 2L))),
    };

    private static Dictionary<string, Func<OnnxGraph, Value>> Reductions() => new()
    {
        ["ReduceSum of all axes"] = g => Sum(P(g, 2, 3)),
        ["ReduceSum"] = g => Sum(P(g, 2, 3, 4), [1]),
        ["ReduceSum of two axes, kept"] = g => Sum(P(g, 2, 3, 4), [0, -1], keepDims: true),
        ["ReduceSum of no axes"] = g => g.Op("ReduceSum", [P(g, 2, 3), g.Constant(Tensor.Vector())], ("noop_with_empty_axes", 1L)),
        ["ReduceMean of all axes"] = g => Mean(P(g, 2, 3)),
        ["ReduceMean"] = g => Mean(P(g, 2, 3, 4), [-2]),
        ["ReduceMean of two axes, kept"] = g => Mean(P(g, 2, 3, 4), [0, 2], keepDims: true),
        ["ReduceMean in opset 18"] = Opset(18, g => Mean(P(g, 2, 3, 4), [0, 2])),
        ["ReduceMax of all axes"] = g => g.Op("ReduceMax", [Spaced(g, 2, 3)]),
        ["ReduceMax"] = g => g.Op("ReduceMax", [Spaced(g, 2, 3, 2)], ("axes", new long[] { 1 }), ("keepdims", 0L)),
        ["ReduceMin of two axes, kept"] = g => g.Op("ReduceMin", [Spaced(g, 2, 3, 2)], ("axes", new long[] { 0, -1 })),
        ["ReduceSumSquare"] = g => g.Op("ReduceSumSquare", [P(g, 2, 3)], ("axes", new long[] { -1 }), ("keepdims", 0L)),
        ["ReduceL1"] = g => g.Op("ReduceL1", [Spaced(g, 2, 3, 2)], ("axes", new long[] { 1 }), ("keepdims", 0L)),
        ["ReduceL2"] = g => g.Op("ReduceL2", [P(g, 2, 3, 2)], ("axes", new long[] { 0, 2 }), ("keepdims", 0L)),
        ["ReduceL2 in opset 18"] = Opset(18, g => g.Op("ReduceL2", [P(g, 2, 3), I(g, 1)])),
        ["ReduceLogSumExp"] = g => g.Op("ReduceLogSumExp", [P(g, 2, 3)], ("axes", new long[] { 1 }), ("keepdims", 0L)),
    };
}
