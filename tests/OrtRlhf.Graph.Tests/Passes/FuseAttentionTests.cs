using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Exported;
using OrtRlhf.Tests;

namespace OrtRlhf.Graph.Tests.Passes;

public class FuseAttentionTests
{
    [Theory]
    [InlineData("unet-opset17", 4)]
    [InlineData("unet-linear-opset17", 4)]
    [InlineData("unet-small-opset14", 2)]
    public void Apply_Inference_FusesAllAndMatchesReference(string name, int expected)
    {
        var graph = ExportedModel.Prepared(name, recognize: true);
        Assert.Equal(expected, FuseAttention.Apply(graph));
        Assert.DoesNotContain(graph.Nodes, n => n.Domain == OnnxGraph.CompositeDomain && n.Op == "Attention");
        var golden = Golden.Tensors("torch", ExportedModel.GoldenOf(name), "golden.safetensors");
        Numbers.AssertClose(golden["out_sample"], ExportedModel.Run(graph, name)["out_sample"], 1e-5);
    }

    [Fact]
    public void Apply_TrainingGraph_LeavesWhatTheGradientReads()
    {
        IReadOnlyList<LoraLayer> layers = [];
        var graph = ExportedModel.Prepared("unet-opset17", recognize: true, g => layers = InjectLora.Apply(g, new LoraOptions()));
        ExportedModel.Differentiate(graph, [.. layers.SelectMany(l => new[] { l.A, l.B })]);
        Assert.Equal(0, FuseAttention.Apply(graph));
    }

    public static TheoryData<string, bool> Forms => new()
    {
        { "heads split by a transpose", true }, { "heads first", true }, { "any batch", true }, { "mask", false },
            { "probabilities are an output", false }, { "halves", false }, { "three dimensions", false },
    };

    // Widths of values other than of queries, more keys than queries, a scale of its own.
    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_IsFusedOrLeftAndGivesTheSame(string form, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var type = form == "halves" ? ElementType.Float16 : ElementType.Float;
            Dim batch = form == "any batch" ? "batch" : 2;
            Value Heads(string name, long rows, long width) => form switch
            {
                "heads split by a transpose" or "any batch" =>
                    graph.Input(name, ElementType.Float, batch, rows, 3 * width).Reshape(0, 0, 3, width).Transpose(0, 2, 1, 3),
                "three dimensions" => graph.Input(name, ElementType.Float, 6, rows, width),
                _ => Functions.Cast(graph.Input(name, ElementType.Float, 2, 3, rows, width), type),
            };
            var mask = form == "mask" ? graph.Constant(Numbers.Normal(4, 5, 7)) : null;
            var o = Functions.Attention(Heads("q", 5, 4), Heads("k", 7, 4), Heads("v", 7, 6), 0.3, mask);
            if (form == "probabilities are an output") graph.Output(o.Producer!.Outputs[1]!, "p");
            graph.Output(Functions.Cast(o, ElementType.Float), "o");
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph, [.. graph.Inputs.Select((i, n) =>
            (i.Name, Numbers.Normal(n, [.. i.Shape!.Dims.ToArray().Select(d => d.IsKnown ? d.Size : 2)])))])["o"];
        var graph = Build();
        Assert.Equal(expected ? 1 : 0, FuseAttention.Apply(graph));
        Assert.Equal(expected, graph.Nodes.Any(n => n.Op == "MultiHeadAttention"));
        Numbers.AssertClose(Run(Build()), Run(graph), 1e-6);
    }
}
