using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;

namespace OrtRlhf.Graph.Tests.Passes;

public class MergeLoraTests
{
    private static readonly Tensor A = Filled(1, 2, 3), B = Filled(2, 4, 2), ConvA = Filled(1, 2, 3, 3, 3), ConvB = Filled(2, 4, 2, 1, 1);

    [Theory]
    [InlineData("MatMul")]
    [InlineData("Gemm")]
    [InlineData("GemmTransposed")]
    [InlineData("Computed")]
    [InlineData("Conv")]
    public void Apply_MatchesTheInjectedAdapter(string kind)
    {
        var (a, b) = kind == "Conv" ? (ConvA, ConvB) : (A, B);
        var merged = Layer(kind);
        MergeLora.Apply(merged, new Dictionary<string, (Tensor, Tensor)> { ["block.to_q"] = (a, b) });
        Assert.Equal(kind == "Computed" ? 3 : 1, merged.Nodes.Count);

        var injected = Layer(kind);
        InjectLora.Apply(injected, new LoraOptions { Rank = 2, Targets = ["to_q"] });
        var x = kind == "Conv" ? Filled(3, 1, 3, 4, 4) : Filled(3, 2, 3);
        var expected = Ort.Run(injected, ("x", x), ("unet.block.to_q.lora_A.weight", a), ("unet.block.to_q.lora_B.weight", b))["y"];
        Numbers.AssertClose(expected, Ort.Run(merged, ("x", x))["y"], 1e-5);
    }

    [Fact]
    public void Apply_OtherLayerOrSize_Throws()
    {
        Assert.Contains("matches no linear", Assert.Throws<UserError>(() =>
            MergeLora.Apply(Layer("MatMul"), new Dictionary<string, (Tensor, Tensor)> { ["block.to_v"] = (A, B) })).Message);
        Assert.Contains("whole module paths", Assert.Throws<UserError>(() =>
            MergeLora.Apply(Layer("MatMul"), new Dictionary<string, (Tensor, Tensor)> { ["to_q"] = (A, B) })).Message);
        Assert.Contains("another model", Assert.Throws<UserError>(() =>
            MergeLora.Apply(Layer("MatMul"), new Dictionary<string, (Tensor, Tensor)> { ["block.to_q"] = (Filled(1, 2, 5), B) })).Message);
    }

    private static OnnxGraph Layer(string kind)
    {
        var graph = new OnnxGraph("net");
        var x = kind == "Conv" ? graph.Input("x", ElementType.Float, 1, 3, 4, 4) : graph.Input("x", ElementType.Float, 2, 3);
        using var scope = graph.Scope("block");
        using var layer = graph.Scope("to_q");
        graph.Output(kind switch
        {
            "MatMul" => graph.Op("MatMul", [x, graph.Constant(Filled(5, 3, 4))]),
            "Gemm" => graph.Op("Gemm", [x, graph.Constant(Filled(5, 3, 4))]),
            "GemmTransposed" => graph.Op("Gemm", [x, graph.Constant(Filled(5, 4, 3))], ("transB", 1L)),
            "Computed" => graph.Op("MatMul", [x, graph.Op("Transpose", [graph.Constant(Filled(5, 4, 3))], ("perm", (long[])[1, 0]))]),
            _ => graph.Op("Conv", [x, graph.Constant(Filled(5, 4, 3, 3, 3))], ("pads", (long[])[1, 1, 1, 1])),
        }, "y");
        return graph;
    }

    private static Tensor Filled(int phase, params long[] dims)
    {
        var values = new float[dims.Aggregate(1L, (p, q) => p * q)];
        for (var i = 0; i < values.Length; i++) values[i] = MathF.Sin((phase * 1.7f) + i);
        return Tensor.Of(values, dims);
    }
}
