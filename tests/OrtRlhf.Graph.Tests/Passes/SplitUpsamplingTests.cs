using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Exported;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class SplitUpsamplingTests
{
    public static TheoryData<string, bool> Forms => new()
    {
        { "bias", true }, { "no bias", true }, { "any size", true }, { "read twice", true }, { "stride 2", false }, { "no pads", false },
            { "factor 3", false }, { "kernel 1", false }, { "weight is an input", false },
        { "linear", false },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_IsSplitOrLeftAndGivesTheSame(string form, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var x = form == "any size" ? graph.Input("x", ElementType.Float, "batch", 3, "height", "width")
                : graph.Input("x", ElementType.Float, 2, 3, 5, 4);
            var large = UpsampleNearest(x, form == "factor 3" ? 3 : 2);
            if (form == "linear") large.Producer!.Attributes["mode"] = "linear";
            var size = form == "kernel 1" ? 1 : 3;
            var weight = form == "weight is an input" ? graph.Input("w", ElementType.Float, 6, 3, 3, 3)
                : graph.Constant(Numbers.Normal(1, 6, 3, size, size));
            var pad = form == "no pads" ? 0 : size / 2;
            var y = Conv(large, weight, form == "no bias" ? null : graph.Constant(Numbers.Normal(2, 6)), form == "stride 2" ? 2 : 1,
                [pad, pad, pad, pad]);
            graph.Output(form == "read twice" ? y * Mean(large) : y, "y");
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph,
            [.. graph.Inputs.Select(i => (i.Name, i.Name == "w" ? Numbers.Normal(1, 6, 3, 3, 3) : Numbers.Normal(3, 2, 3, 5, 4)))])["y"];
        var graph = Build();
        Assert.Equal(expected ? 1 : 0, SplitUpsampling.Apply(graph));
        Assert.Equal(Build()["y"].Shape, graph["y"].Shape);
        Assert.Equal(expected && form != "read twice", graph.Nodes.All(n => n.Op != "Resize"));
        Numbers.AssertClose(Run(Build()), Run(graph), 2e-6);
    }

    [Fact]
    public void Apply_ExportedModel_MatchesReference()
    {
        var graph = ExportedModel.Prepared("unet-opset17", recognize: true);
        Assert.Equal(1, SplitUpsampling.Apply(graph));
        Numbers.AssertClose(Golden.Tensors("torch", "unet-opset17", "golden.safetensors")["out_sample"],
            ExportedModel.Run(graph, "unet-opset17")["out_sample"], 1e-5);
    }
}
