using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Gradients.Cases;

internal static partial class RuleCases
{
    private static Dictionary<string, Func<OnnxGraph, Value>> Layouts() => new()
    {
        ["Reshape"] = g => P(g, 2, 6).Reshape(0, 3, -1),
        ["Flatten"] = g => g.Op("Flatten", [P(g, 2, 3, 2)]),
        ["Flatten at the last axis"] = g => g.Op("Flatten", [P(g, 2, 3, 2)], ("axis", -1L)),
        ["Squeeze"] = g => P(g, 1, 2, 1, 3).Squeeze(0, -2),
        ["Squeeze of every one"] = g => g.Op("Squeeze", [P(g, 1, 2, 1, 3)]),
        ["Unsqueeze"] = g => P(g, 2, 3).Unsqueeze(0, -1),
        ["Expand"] = g => P(g, 2, 1, 3).Expand(2, 2, 4, 3),
        ["Expand by ones"] = g => P(g, 2, 3).Expand(4, 1, 1),
        ["Tile"] = g => g.Op("Tile", [P(g, 2, 3), I(g, 3, 2)]),
        ["Transpose"] = g => P(g, 2, 3, 4).Transpose(2, 0, 1),
        ["Transpose by default"] = g => g.Op("Transpose", [P(g, 2, 3, 4)]),
        ["Concat"] = g => Layout.Concat(1, P(g, 2, 1), C(g, 2, 2), P(g, 2, 3)),
        ["Concat of one value twice"] = g => { var x = P(g, 2, 3); return Layout.Concat(-2, x, x); },
        ["Split"] = g => { var parts = P(g, 3, 6).Split(1, 2, 3, 1); return Layout.Concat(-1, parts[2], parts[0], parts[1]); },
        ["Split in equal parts"] = g => { var parts = g.Op("Split", "", 2, [P(g, 4, 3)]); return parts[0] * parts[1]; },
        ["Split, not all parts used"] = g => P(g, 2, 6).Split(-1, 2, 3, 1)[1],
        ["Slice"] = g => P(g, 4, 5).Slice(1, 1, 4),
        ["Slice of negative bounds, two axes"] = g => P(g, 4, 5).Slice([0, -1], [-3, 1], [-1, 100], [1, 1]),
        ["Slice with steps"] = g => P(g, 5, 6).Slice([0, 1], [0, 1], [5, 6], [2, 3]),
        ["Slice backwards"] = g => P(g, 5, 4).Slice([0, 1], [-1, 1], [long.MinValue / 2, 3], [-2, 1]),
        ["Slice without axes"] = g => g.Op("Slice", [P(g, 4, 5), I(g, 1, 2), I(g, 3, 5)]),
        ["Slice of nothing"] = g => Layout.Concat(0, P(g, 2, 3).Slice(0, 1, 1), P(g, 2, 3)),
        ["Pad"] = g => P(g, 2, 3).Pad([1, 0], [2, 3]),
        ["Pad with a value"] = g => g.Op("Pad", [P(g, 2, 3), I(g, 0, 1, 1, 0), g.Scalar(ElementType.Float, 2)]),
        ["Pad of negative cells"] = g => g.Op("Pad", [P(g, 4, 5), I(g, -1, 1, 2, -2)]),
        ["Pad of one axis"] = Opset(18, g => g.Op("Pad", [P(g, 2, 3), I(g, 1, 2), null, I(g, -1)])),
        ["Gather"] = g => P(g, 5, 3).Gather(I(g, 0, 2, 2, 4)),
        ["Gather of an embedding"] = g => P(g, 5, 3).Gather(g.Constant(Tensor.Of([1L, 1, 0, -1, 3, 1], 2, 3))),
        ["Gather along another axis"] = g => P(g, 2, 4, 3).Gather(I(g, 3, 0, 3), 1),
        ["Gather of one row"] = g => P(g, 4, 3).Gather(g.Constant(Tensor.Scalar(2L))),
        ["GatherElements"] = g => g.Op("GatherElements", [P(g, 3, 4), g.Constant(Tensor.Of([0L, 2, 2, -1, 1, 0], 2, 3))], ("axis", 1L)),
        ["DepthToSpace"] = g => g.Op("DepthToSpace", [P(g, 1, 8, 2, 3)], ("blocksize", 2L)),
        ["DepthToSpace, channels first"] = g => g.Op("DepthToSpace", [P(g, 1, 8, 2, 3)], ("blocksize", 2L), ("mode", "CRD")),
        ["SpaceToDepth"] = g => g.Op("SpaceToDepth", [P(g, 1, 2, 4, 6)], ("blocksize", 2L)),
        ["Gather by 32-bit indices"] = g => P(g, 5, 3).Gather(g.Op("Cast", [I(g, 4, 4, 0)], ("to", 6L)), -2),
    };

    private static Dictionary<string, Func<OnnxGraph, Value>> Resamplings() => new()
    {
        ["Resize by two"] = g => UpsampleNearest(P(g, 2, 2, 2, 3)),
        ["Resize to sizes, another factor each way"] = g => g.Op("Resize", [P(g, 1, 2, 2, 3), null, null, I(g, 1, 2, 6, 6)],
            ("mode", "nearest"), ("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", "floor")),
        ["Resize from the middle of cells"] = g =>
            g.Op("Resize", [P(g, 1, 2, 2, 3), null, g.Constant(Tensor.Of([1f, 1f, 3f, 2f], 4))], ("mode", "nearest")),
        ["AveragePool"] = g =>
            g.Op("AveragePool", [P(g, 1, 2, 4, 6)], ("kernel_shape", new long[] { 2, 3 }), ("strides", new long[] { 2, 3 })),
        ["GlobalAveragePool"] = g => g.Op("GlobalAveragePool", [P(g, 2, 2, 2, 3)]),
    };

    private static Dictionary<string, Func<OnnxGraph, Value>> Composites() => new()
    {
        ["GroupNorm"] = g => GroupNorm(P(g, 2, 4, 2, 3), P(g, 4), P(g, 4), 2, 1e-5),
        ["GroupNorm of one group"] = g => GroupNorm(P(g, 2, 4, 3), P(g, 4), P(g, 4), 1, 1e-2),
        ["GroupNorm, fixed scale and bias"] = g => GroupNorm(P(g, 2, 4, 2, 3), C(g, 4), C(g, 4), 2, 1e-5),
        ["Attention"] = g => Attention(P(g, 2, 3, 4), P(g, 2, 5, 4), P(g, 2, 5, 2), 0.5),
        ["Attention of heads"] = g => Attention(P(g, 1, 2, 3, 2), P(g, 1, 2, 3, 2), P(g, 1, 2, 3, 2), 0.7),
        ["Attention with a mask [S,T]"] = g => Attention(P(g, 2, 3, 4), P(g, 2, 5, 4), P(g, 2, 5, 4), 0.5, P(g, 3, 5)),
        ["Attention with a mask [B,1,1,T]"] = g => Attention(P(g, 2, 2, 3, 2), P(g, 2, 2, 4, 2), P(g, 2, 2, 4, 2), 0.5, P(g, 2, 1, 1, 4)),
        ["Attention with a causal mask"] = g => Attention(P(g, 2, 3, 2), P(g, 2, 3, 2), P(g, 2, 3, 2), 0.5,
            g.Constant(Tensor.Of([0, -1e9f, -1e9f, 0, 0, -1e9f, 0, 0, 0], 3, 3))),
        ["Attention, keys and values for all heads"] = g => Attention(P(g, 2, 2, 3, 2), P(g, 1, 4, 2), P(g, 1, 4, 2), 0.5),
        ["Attention, one head after the other"] = g => OneByOne(g, P(g, 2, 2, 3, 2), P(g, 2, 2, 4, 2), P(g, 2, 2, 4, 3)),
        ["Attention, one head after the other, mask [S,T]"] = g => OneByOne(g, P(g, 2, 3, 2), P(g, 2, 4, 2), P(g, 2, 4, 3), P(g, 3, 4)),
        ["Attention, one head after the other, mask [1,1,1,T]"] = g =>
            OneByOne(g, P(g, 1, 2, 3, 2), P(g, 1, 2, 4, 2), P(g, 1, 2, 4, 3), P(g, 1, 1, 1, 4)),
        ["Attention of a value with itself"] = g => { var x = P(g, 2, 3, 2); return Attention(x, x, x, 1); },
    };

    private static Value OneByOne(OnnxGraph g, params Value[] inputs) =>
        g.Op("Attention", OnnxGraph.CompositeDomain, 2, inputs, ("scale", 0.5f), ("one_by_one", 1L))[0];
}
