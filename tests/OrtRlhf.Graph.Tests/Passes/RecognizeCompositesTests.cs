using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Exported;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class RecognizeCompositesTests
{
    [Theory]
    [InlineData("unet-opset17", 19, 4, 6, 1e-5)]
    [InlineData("unet-linear-opset17", 18, 4, 6, 1e-5)]
    [InlineData("unet-small-opset14", 18, 2, 3, 1e-5)]
    [InlineData("unet-small-opset20", 18, 2, 3, 1e-5)]
    [InlineData("unet-small-fp16-opset17", 18, 2, 3, 3e-3)]
    public void Apply_ExportedModel_FindsAllAndMatchesReference(string name, int groupNorms, int attentions, int layerNorms,
        double tolerance)
    {
        var graph = ExportedModel.Prepared(name, recognize: true);
        Assert.Equal((groupNorms, attentions, layerNorms),
            (Count(graph, "GroupNorm"), Count(graph, "Attention"), Count(graph, "LayerNorm")));
        Assert.DoesNotContain(graph.Nodes, n => n.Op is "InstanceNormalization" or "Softmax" or "Sqrt" or "Pow" or "Slice");
        var golden = Golden.Tensors("torch", ExportedModel.GoldenOf(name), "golden.safetensors");
        Numbers.AssertClose(golden["out_sample"], ExportedModel.Run(graph, name)["out_sample"], tolerance);
    }

    [Fact]
    public void Apply_OpenShapes_FindsGroupNormsAndMatchesReference()
    {
        var golden = Golden.Tensors("torch", "unet-opset17", "golden.safetensors");
        var graph = ExportedModel.Read("unet-opset17");
        FoldConstants.Apply(graph);
        RecognizeComposites.Apply(graph);
        Assert.Equal(19, Count(graph, "GroupNorm"));
        Numbers.AssertClose(golden["other.out_sample"],
            Ort.Run(graph, [.. graph.Inputs.Select(i => (i.Name, golden["other." + i.Name]))])["out_sample"], 1e-5);
    }

    [Fact]
    public void Apply_BeforeGradients_WritesLessMemory()
    {
        long Written(bool recognize)
        {
            IReadOnlyList<LoraLayer> layers = [];
            var graph = ExportedModel.Prepared("unet-opset17", recognize, g => layers = InjectLora.Apply(g, new LoraOptions()));
            ExportedModel.Differentiate(graph, [.. layers.SelectMany(l => new[] { l.A, l.B })]);
            LowerComposites.Apply(graph);
            return graph.Nodes.Where(n => n.Op is not ("Reshape" or "Unsqueeze")).Sum(n =>
                n.Outputs.Sum(o => o?.Shape is { IsStatic: true } s ? s.Count : 0));
        }
        var (found, spelledOut) = (Written(true), Written(false));
        Assert.True(found < 0.9 * spelledOut, $"Elements written: {found} with composites, {spelledOut} without");
    }

    public static TheoryData<string, string?> Activations => new()
    {
        { "x sigmoid(x)", "Silu" }, { "sigmoid(x) x", "Silu" }, { "gelu, half last", "Gelu" }, { "gelu, half first", "Gelu" },
            { "gelu, by product", "Gelu" }, { "sigmoid of another", null },
        { "sigmoid of a multiple", null }, { "erf without 1", null }, { "erf of another scale", null },
    };

    [Theory]
    [MemberData(nameof(Activations))]
    public void Apply_ActivationSpelledOut_IsFoundOrLeftAndGivesTheSame(string form, string? expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var (x, z) = (graph.Input("x", ElementType.Float, 3, 4), graph.Input("z", ElementType.Float, 3, 4));
            graph.Output(form switch
            {
                "x sigmoid(x)" => x * Sigmoid(x),
                "sigmoid(x) x" => Sigmoid(x) * x,
                "gelu, half last" => x * (Erf(x / Math.Sqrt(2)) + 1) * 0.5,
                "gelu, half first" => x * 0.5 * (Erf(x / Math.Sqrt(2)) + 1),
                "gelu, by product" => (Erf(x * Math.Sqrt(0.5)) + 1) * x * 0.5,
                "sigmoid of another" => x * Sigmoid(z),
                "sigmoid of a multiple" => x * Sigmoid(x * 1.702),
                "erf without 1" => x * (Erf(x / Math.Sqrt(2)) + 2) * 0.5,
                _ => x * (Erf(x / 2) + 1) * 0.5,
            } + z, "y");
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph, ("x", Numbers.Normal(1, 3, 4)), ("z", Numbers.Normal(2, 3, 4)))["y"];
        var graph = Build();
        Assert.Equal(expected is null ? 0 : 1, RecognizeComposites.Apply(graph));
        if (expected is not null) Assert.Equal(1, Count(graph, expected));
        LowerComposites.Apply(graph);
        Numbers.AssertClose(Run(Build()), Run(graph), 1e-6);
    }

    public static TheoryData<string, bool> Attentions => new()
    {
        { "scale at q", true }, { "scale at k", true }, { "scale behind", true }, { "divided behind", true }, { "mask", true },
            { "no transpose", true },
        { "scores read twice", false }, { "probabilities read twice", false }, { "softmax of another axis", false },
            { "keys for all heads", false }, { "mask that enlarges", false },
        { "scale by channel", true },
    };

    [Theory]
    [MemberData(nameof(Attentions))]
    public void Apply_AttentionSpelledOut_IsFoundOrLeftAndGivesTheSame(string form, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var q = graph.Input("q", ElementType.Float, 2, 3, 4, 5);
            var k = graph.Input("k", ElementType.Float, 2, 6, 3, 5);
            var v = graph.Input("v", ElementType.Float, 2, 3, 6, 2);
            var keys = form switch
            {
                "no transpose" => k.Reshape(2, 3, 5, 6),
                "keys for all heads" => k.Slice(2, 0, 1).Transpose(0, 2, 3, 1),
                _ => k.Transpose(0, 2, 3, 1),
            };
            if (form == "scale at q") q *= 0.3;
            if (form == "scale at k") keys *= 0.3;
            if (form == "scale by channel") q *= graph.Constant(Numbers.Normal(9, 5));
            var scores = MatMul(q, keys);
            if (form == "scores read twice") graph.Output(Exp(scores), "other");
            if (form == "scale behind") scores *= 0.3;
            if (form == "divided behind") scores /= 3.0;
            if (form == "mask") scores = graph.Constant(Numbers.Normal(7, 2, 1, 1, 6)) + (scores * 0.3);
            if (form == "mask that enlarges") scores = scores.Slice(0, 0, 1) + graph.Constant(Numbers.Normal(8, 2, 1, 1, 1));
            var p = Softmax(scores, form == "softmax of another axis" ? 2 : -1);
            if (form == "probabilities read twice") graph.Output(Exp(p), "other");
            graph.Output(MatMul(p, v), "y");
            return graph;
        }
        var found = Build();
        RecognizeComposites.Apply(found);
        Assert.Equal(expected ? 1 : 0, Count(found, "Attention"));
        (string, Tensor)[] inputs = [("q", Numbers.Normal(1, 2, 3, 4, 5)), ("k", Numbers.Normal(2, 2, 6, 3, 5)),
            ("v", Numbers.Normal(3, 2, 3, 6, 2))];
        Numbers.AssertClose(Ort.Run(Build(), inputs)["y"], Ort.Run(found, inputs)["y"], 1e-6);
    }

    [Theory]
    [InlineData(1f, 0f, true)]
    [InlineData(2f, 0f, false)]
    [InlineData(1f, 1f, false)]
    public void Apply_InstanceNormalizationOfGroups_IsFoundOnlyWhereItIsPlain(float scale, float bias, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph("norm");
            var x = graph.Input("x", ElementType.Float, "batch", 6, "height", "width");
            var shape = graph.Op("Shape", [x]);
            var normal = graph.Op("InstanceNormalization", [x.Reshape(0, 3, -1), graph.Constant(Tensor.Of([scale, scale, scale], 3)),
                graph.Constant(Tensor.Of([bias, bias, bias], 3))], ("epsilon", 1e-4f));
            var back = graph.Op("Reshape", [normal, shape]);
            graph.Output((graph.Constant(Numbers.Normal(1, 6, 1, 1)) * back) + graph.Constant(Numbers.Normal(2, 1, 6, 1, 1)), "y");
            return graph;
        }
        var found = Build();
        Assert.Equal(expected ? 1 : 0, RecognizeComposites.Apply(found));
        var x = ("x", Numbers.Normal(3, 2, 6, 4, 5));
        Numbers.AssertClose(Ort.Run(Build(), x)["y"], Ort.Run(found, x)["y"], 1e-6);
    }

    [Fact]
    public void Apply_GroupNormalizationOfOnnx_IsFound()
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph("norm") { Opset = 21 };
            var x = graph.Input("x", ElementType.Float, 2, 6, 4, 5);
            graph.Output(graph.Op("GroupNormalization", [x, graph.Constant(Numbers.Normal(1, 6)), graph.Constant(Numbers.Normal(2, 6))],
                ("num_groups", 3L)), "y");
            return graph;
        }
        var found = Build();
        Assert.Equal(1, RecognizeComposites.Apply(found));
        Assert.Equal(1, Count(found, "GroupNorm"));
        var x = ("x", Numbers.Normal(3, 2, 6, 4, 5));
        Numbers.AssertClose(Ort.Run(Build(), x)["y"], Ort.Run(found, x)["y"], 1e-6);
    }

    [Theory]
    [InlineData("0-2 2-6", 1)]
    [InlineData("2-6 0-2", 1)]
    [InlineData("0-2 2-100", 1)]
    [InlineData("0--4 -4-6", 1)]
    [InlineData("0-2 2-5 5-6", 1)]
    [InlineData("0-2 3-6", 0)]
    [InlineData("0-3 2-6", 0)]
    [InlineData("0-2 2-5", 0)]
    [InlineData("0-6", 0)]
    public void Apply_Slices_BecomeASplitWhereTheyAreTheWhole(string ranges, int expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(ranges);
            var x = Exp(graph.Input("x", ElementType.Float, 2, 6, 3));
            foreach (var range in ranges.Split(' '))
            {
                var at = range.IndexOf('-', 1);
                graph.Output(Tanh(x.Slice(1, long.Parse(range[..at]), long.Parse(range[(at + 1)..]))), range);
            }
            return graph;
        }
        var found = Build();
        RecognizeComposites.Apply(found);
        Assert.Equal(expected, Count(found, "Split"));
        var x = ("x", Numbers.Normal(1, 2, 6, 3));
        var (before, after) = (Ort.Run(Build(), x), Ort.Run(found, x));
        Assert.All(before, b => Assert.Equal(b.Value.ToFloats(), after[b.Key].ToFloats()));
    }

    private static int Count(OnnxGraph graph, string op) => graph.Nodes.Count(n => n.Op == op);
}
