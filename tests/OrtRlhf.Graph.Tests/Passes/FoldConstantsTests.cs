using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;

namespace OrtRlhf.Graph.Tests.Passes;

public class FoldConstantsTests
{
    private static readonly Dictionary<string, long[]> Frozen = new()
    {
        ["sample"] = [2, 4, 8, 8],
        ["timestep"] = [1],
        ["encoder_hidden_states"] = [2, 5, 12]
    };

    [Theory]
    [InlineData("unet-opset17", 1e-5)]
    [InlineData("unet-small-opset14", 1e-5)]
    [InlineData("unet-linear-opset17", 1e-5)]
    [InlineData("unet-small-fp16-opset17", 3e-3)]
    public void Apply_FrozenModelOfPyTorchsExporter_IsStaticAndMatchesReference(string name, double tolerance)
    {
        var golden = Golden.Tensors("torch", name, "golden.safetensors");
        var graph = OnnxFile.Read(Golden.At("torch", name, "model.onnx"));
        RaiseOpset.Apply(graph);
        Assert.Equal(17, graph.Opset);
        FreezeShapes.Apply(graph, Frozen.Where(f => graph.Inputs.Any(i => i.Name == f.Key)).ToDictionary());
        FoldConstants.Apply(graph);
        Assert.DoesNotContain(graph.Nodes, n => n.Op is "Shape" or "Identity" or "Constant" or "ConstantOfShape" or "Range");
        foreach (var node in graph.Nodes)
        {
            foreach (var output in node.Outputs.OfType<Value>()) Assert.True(output.Shape is { IsStatic: true }
                && output.Type != ElementType.Undefined, $"{node}: {output}");
            Assert.True(GradientRules.Supports(node), node.ToString());
        }
        var inputs = graph.Inputs.Select(i => (i.Name, i.Type == ElementType.Float16 ? golden[i.Name].As(i.Type) : golden[i.Name]))
            .ToArray();
        Numbers.AssertClose(golden["out_sample"], Ort.Run(graph, inputs)["out_sample"], tolerance);
    }

    [Fact]
    public void Apply_DynamicModel_StaysDynamic()
    {
        var golden = Golden.Tensors("torch", "unet-opset17", "golden.safetensors");
        var graph = OnnxFile.Read(Golden.At("torch", "unet-opset17", "model.onnx"));
        FoldConstants.Apply(graph);
        Numbers.AssertClose(golden["other.out_sample"],
            Ort.Run(graph, [.. graph.Inputs.Select(i => (i.Name, golden["other." + i.Name]))])["out_sample"], 1e-5);
    }

    public static TheoryData<string> Cases => [.. Table.Keys];

    private static readonly Dictionary<string, Func<OnnxGraph, Value>> Table = new()
    {
        ["add broadcast"] = g => F(g, 1, 2, 3) + F(g, 2, 3),
        ["sub"] = g => I(g, 7, 2) - I(g, 1, 5),
        ["mul scalar"] = g => I(g, 7, -2) * g.Constant(Tensor.Scalar(3L)),
        ["div integers truncates"] = g => I(g, 7, -7, 8) / I(g, 2, 2, -3),
        ["div floats"] = g => F(g, 1, 4) / F(g, 2, 4),
        ["mod takes the divisor's sign"] = g => g.Op("Mod", [I(g, 7, -7, 8), I(g, 3, 3, -3)]),
        ["min"] = g => g.Op("Min", [I(g, 7, -7), I(g, 2)]),
        ["max"] = g => g.Op("Max", [F(g, 1, 3), F(g, 2, 3)]),
        ["equal"] = g => g.Op("Equal", [I(g, 7, 2), I(g, 7, 3)]),
        ["greater"] = g => g.Op("Greater", [F(g, 1, 3), F(g, 2, 3)]),
        ["less or equal"] = g => g.Op("LessOrEqual", [I(g, 1, 2, 3), I(g, 2)]),
        ["not and or"] = g => g.Op("Or", [g.Op("Not", [B(g, true, false, true)]), g.Op("And", [B(g, true, false, true), B(g, false)])]),
        ["neg abs sign"] = g => g.Op("Neg", [g.Op("Abs", [I(g, -3, 4)])]) + g.Op("Sign", [I(g, -3, 4)]),
        ["floor ceil"] = g => g.Op("Floor", [F(g, 1, 4)]) + g.Op("Ceil", [F(g, 2, 4)]),
        ["sqrt reciprocal"] = g => g.Op("Reciprocal", [g.Op("Sqrt", [g.Op("Abs", [F(g, 1, 9)])])]),
        ["cast float to int"] = g => g.Op("Cast", [F(g, 1, 5) * 3.0], ("to", 7L)),
        ["cast int to half"] = g => g.Op("Cast", [I(g, 3, -4)], ("to", 10L)),
        ["cast bool to float"] = g => g.Op("Cast", [B(g, true, false)], ("to", 1L)),
        ["where"] = g => g.Op("Where", [B(g, true, false, true), I(g, 1, 2, 3), I(g, -1)]),
        ["range"] = g => g.Op("Range", [g.Constant(Tensor.Scalar(9L)), g.Constant(Tensor.Scalar(2L)), g.Constant(Tensor.Scalar(-2L))]),
        ["constant of shape"] = g => g.Op("ConstantOfShape", [I(g, 2, 3)], ("value", Tensor.Of([5L], 1))),
        ["expand"] = g => g.Op("Expand", [F(g, 1, 2, 1, 3), I(g, 4, 2, 2, 1)]),
        ["tile"] = g => g.Op("Tile", [F(g, 1, 2, 3), I(g, 2, 3)]),
        ["transpose"] = g => g.Op("Transpose", [F(g, 1, 2, 3, 4)], ("perm", new long[] { 2, 0, 1 })),
        ["slice backwards"] = g => g.Op("Slice", [F(g, 1, 4, 5), I(g, -1, 1), I(g, long.MinValue / 2, 4), I(g, 0, 1), I(g, -2, 2)]),
        ["gather"] = g => g.Op("Gather", [F(g, 1, 2, 5), g.Constant(Tensor.Of([0L, -1, 2, 2], 2, 2))], ("axis", 1L)),
        ["gather scalar"] = g => g.Op("Gather", [I(g, 4, 5, 6), g.Constant(Tensor.Scalar(1L))]),
        ["concat"] = g => g.Op("Concat", [F(g, 1, 2, 2), F(g, 2, 2, 3)], ("axis", -1L)),
        ["reshape"] = g => g.Op("Reshape", [F(g, 1, 2, 6), I(g, 0, 3, -1)]),
        ["unsqueeze squeeze"] = g => g.Op("Squeeze", [g.Op("Unsqueeze", [F(g, 1, 2, 1), I(g, 0, -1)]), I(g, 2)]),
        ["flatten"] = g => g.Op("Flatten", [F(g, 1, 2, 3, 4)], ("axis", 2L)),
        ["trilu upper"] = g => g.Op("Trilu", [F(g, 1, 2, 4, 3), g.Constant(Tensor.Scalar(1L))]),
        ["trilu lower"] = g => g.Op("Trilu", [F(g, 1, 3, 4)], ("upper", 0L)),
        ["shape of a part"] = g => g.Op("Shape", [F(g, 1, 2, 3, 4)], ("start", -2L)),
        ["size"] = g => g.Op("Size", [F(g, 1, 2, 3, 4)]),
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Apply_Operator_MatchesOnnxRuntime(string name)
    {
        OnnxGraph Graph()
        {
            var graph = new OnnxGraph(name);
            graph.Output(graph.Op("Identity", [Table[name](graph)]), "y");
            return graph;
        }
        var expected = Ort.Run(Graph())["y"];
        var folded = Graph();
        FoldConstants.Apply(folded);
        var left = Assert.Single(folded.Nodes);
        Assert.Equal("Identity", left.Op);
        var data = left.Inputs[0]!.Data!;
        Assert.Equal((expected.Type, string.Join(",", expected.Dims)), (data.Type, string.Join(",", data.Dims)));
        Assert.Equal(expected.Bytes(), data.Bytes());
    }

    [Fact]
    public void Apply_ParametersAndTranscendentals_AreNotFolded()
    {
        var graph = new OnnxGraph("kept");
        var p = graph.Parameter("p", Tensor.Of([2f], 1));
        graph.Output(graph.Op("Exp", [graph.Constant(Tensor.Of([1f], 1))]) + (p * 2.0), "y");
        FoldConstants.Apply(graph);
        Assert.Equal(["Exp", "Mul", "Add"], graph.Nodes.Select(n => n.Op));
    }

    [Fact]
    public void Apply_ManyLargeConstants_StopsBeforeMemoryRunsOut()
    {
        var graph = new OnnxGraph("bomb");
        var shape = graph.Constant(Tensor.Vector(1 << 16));
        for (var i = 0; i < 300; i++) graph.Output(graph.Op("Identity", [graph.Op("ConstantOfShape", [shape])]));
        FoldConstants.Apply(graph);
        Assert.InRange(graph.Nodes.Count(n => n.Op == "ConstantOfShape"), 1, 100);
    }

    [Fact]
    public void Freeze_UnknownSymbol_ThrowsAndNamesTheModels()
    {
        var graph = OnnxFile.Read(Golden.At("torch", "unet-small-opset14", "model.onnx"));
        var symbols = FreezeShapes.Symbols(graph);
        var error = Assert.Throws<UserError>(() => FreezeShapes.Apply(graph, [("bacth", 2)]));
        Assert.Contains(symbols[0], error.Message);
        Assert.Throws<UserError>(() => FreezeShapes.Apply(graph, new Dictionary<string, long[]> { ["sample"] = [2, 5, 8, 8] }));
        Assert.Throws<UserError>(() => FreezeShapes.Apply(graph, new Dictionary<string, long[]> { ["sample"] = [2, 4, 8] }));
    }

    [Theory]
    [InlineData(12)]
    [InlineData(22)]
    public void Raise_OpsetTooOldOrNew_Throws(int opset) =>
        Assert.Throws<UserError>(() => RaiseOpset.Apply(new OnnxGraph("g") { Opset = opset }));

    private static Value F(OnnxGraph graph, int seed, params long[] dims) => graph.Constant(Numbers.Normal(seed, dims));

    private static Value I(OnnxGraph graph, params long[] values) => graph.Constant(Tensor.Vector(values));

    private static Value B(OnnxGraph graph, params bool[] values) => graph.Constant(Tensor.Of(values, values.Length));
}
