using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Gradients.Cases;

internal static partial class RuleCases
{
    private static Dictionary<string, Func<OnnxGraph, Value>> Products()
    {
        var cases = new Dictionary<string, Func<OnnxGraph, Value>>
        {
            ["MatMul of matrices"] = g => MatMul(P(g, 2, 3), P(g, 3, 4)),
            ["MatMul by a weight"] = g => MatMul(P(g, 2, 3, 4), P(g, 4, 5)),
            ["MatMul by a fixed weight"] = g => MatMul(P(g, 2, 2, 3, 4), C(g, 4, 5)),
            ["MatMul batched"] = g => MatMul(P(g, 2, 3, 4), P(g, 2, 4, 5)),
            ["MatMul batches broadcast on both sides"] = g => MatMul(P(g, 2, 1, 3, 4), P(g, 3, 4, 2)),
            ["MatMul of a matrix and a batch"] = g => MatMul(P(g, 3, 4), P(g, 2, 4, 2)),
            ["MatMul of one row"] = g => MatMul(P(g, 1, 1, 4), P(g, 4, 3)),
            ["MatMul of a matrix and a vector"] = g => MatMul(P(g, 2, 3, 4), P(g, 4)),
            ["MatMul of a vector and a matrix"] = g => MatMul(P(g, 4), P(g, 4, 3)),
            ["MatMul of a vector and a batch"] = g => MatMul(P(g, 4), P(g, 2, 4, 3)),
            ["MatMul of vectors"] = g => MatMul(P(g, 4), P(g, 4)),
            ["Einsum of heads"] = g => g.Op("Einsum", [P(g, 2, 3, 2, 4), P(g, 2, 5, 2, 4)], ("equation", "bihd,bjhd->bhij")),
            ["Einsum, one axis for both"] = g => g.Op("Einsum", [P(g, 2, 3), P(g, 3)], ("equation", "ij, j -> ij")),
            ["Einsum of three"] = g => g.Op("Einsum", [P(g, 2, 3), P(g, 3, 4), P(g, 4, 2)], ("equation", "ij,jk,kl->il")),
            ["Einsum, turned"] = g => g.Op("Einsum", [P(g, 2, 3, 4)], ("equation", "abc->cab")),
            ["Gemm with alpha and beta"] = g => g.Op("Gemm", [P(g, 2, 3), P(g, 3, 4), P(g, 2, 4)], ("alpha", 0.5f), ("beta", 3f)),
            ["Gemm without bias"] = g => Gemm(P(g, 2, 3), P(g, 3, 4)),
            ["Gemm with a bias column"] = g => Gemm(P(g, 2, 3), P(g, 3, 4), P(g, 2, 1)),
            ["Gemm with a scalar bias"] = g => Gemm(P(g, 2, 3), P(g, 3, 4), P(g)),
        };
        foreach (var ta in new[] { false, true })
            foreach (var tb in new[] { false, true })
                cases[$"Gemm transposed {(ta ? "A" : "a")}{(tb ? "B" : "b")}"] = g =>
                    Gemm(ta ? P(g, 3, 2) : P(g, 2, 3), tb ? P(g, 4, 3) : P(g, 3, 4), P(g, 4), ta, tb);
        return cases;
    }

    private static Dictionary<string, Func<OnnxGraph, Value>> Convolutions() => new()
    {
        ["Conv 3x3"] = g => Conv(P(g, 2, 2, 4, 5), P(g, 3, 2, 3, 3), P(g, 3), 1, [1, 1, 1, 1]),
        ["Conv 3x3 of a fixed weight"] = g => Conv(P(g, 2, 2, 4, 5), C(g, 3, 2, 3, 3), C(g, 3), 1, [1, 1, 1, 1]),
        ["Conv 1x1"] = g => Conv(P(g, 2, 3, 2, 3), P(g, 2, 3, 1, 1), P(g, 2)),
        ["Conv 3x3 without bias or padding"] = g => Conv(P(g, 1, 2, 4, 5), P(g, 2, 2, 3, 3), null),
        ["Conv of stride 2 on even sizes"] = g => Conv(P(g, 1, 2, 4, 6), P(g, 2, 2, 3, 3), P(g, 2), 2, [1, 1, 1, 1]),
        ["Conv of stride 2 on odd sizes"] = g => Conv(P(g, 1, 2, 5, 3), P(g, 2, 2, 3, 3), P(g, 2), 2, [1, 1, 1, 1]),
        ["Conv of stride 2 padded right and bottom"] = g => Conv(P(g, 1, 2, 4, 6), P(g, 2, 2, 3, 3), P(g, 2), 2, [0, 0, 1, 1]),
        ["Conv of stride 2 of a fixed weight"] = g => Conv(P(g, 1, 2, 4, 6), C(g, 2, 2, 3, 3), null, 2, [1, 1, 1, 1]),
        ["Conv of stride 3, cells left over"] = g => Conv(P(g, 1, 1, 6, 7), P(g, 2, 1, 2, 2), null, 3),
        ["Conv 2x3 with steps and pads of their own"] = g => g.Op("Conv", [P(g, 1, 2, 5, 6), P(g, 2, 2, 2, 3), P(g, 2)],
            ("strides", new long[] { 1, 2 }), ("pads", new long[] { 1, 0, 0, 2 })),
        ["Conv dilated"] = g =>
            g.Op("Conv", [P(g, 1, 2, 6, 5), P(g, 2, 2, 2, 3)], ("dilations", new long[] { 2, 1 }), ("pads", new long[] { 1, 1, 1, 1 })),
        ["Conv padded by more than the kernel"] = g => Conv(P(g, 1, 2, 2, 3), P(g, 2, 2, 2, 2), null, 1, [2, 2, 3, 2]),
        ["Conv grouped, of a fixed weight"] = g =>
            g.Op("Conv", [P(g, 2, 4, 3, 3), C(g, 6, 2, 3, 3)], ("group", 2L), ("pads", new long[] { 1, 1, 1, 1 })),
        ["ConvTranspose"] = g => g.Op("ConvTranspose", [P(g, 2, 2, 2, 3), P(g, 2, 3, 3, 3), P(g, 3)]),
        ["ConvTranspose of stride 2"] = g => g.Op("ConvTranspose", [P(g, 1, 2, 2, 3), P(g, 2, 3, 3, 2), P(g, 3)],
            ("strides", new long[] { 2, 2 }), ("pads", new long[] { 1, 0, 1, 1 })),
        ["ConvTranspose with output padding"] = g => g.Op("ConvTranspose", [P(g, 1, 2, 2, 3), P(g, 2, 2, 3, 3)],
            ("strides", new long[] { 2, 3 }), ("pads", new long[] { 1, 1, 1, 1 }), ("output_padding", new long[] { 1, 2 })),
        ["ConvTranspose grouped, of a fixed weight"] = g => g.Op("ConvTranspose", [P(g, 1, 4, 2, 3), C(g, 4, 1, 2, 2)], ("group", 2L)),
    };
}
