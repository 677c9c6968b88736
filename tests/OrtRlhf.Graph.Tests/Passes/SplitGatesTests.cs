using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Exported;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class SplitGatesTests
{
    public static TheoryData<string, bool> Forms => new()
    {
        { "bias", true }, { "no bias", true }, { "parts of other sizes", true }, { "any batch", true }, { "product read twice", false },
            { "another axis", false }, { "weight is an input", false },
        { "bias by row", false }, { "three parts", false },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_IsSplitOrLeftAndGivesTheSame(string form, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var x = graph.Input("x", ElementType.Float, form == "any batch" ? "batch" : 2, 6, 5);
            var y = MatMul(x, form == "weight is an input" ? graph.Input("w", ElementType.Float, 5, 6)
                : graph.Constant(Numbers.Normal(1, 5, 6)));
            if (form == "bias by row") y += graph.Constant(Numbers.Normal(2, 6, 6));
            else if (form != "no bias") y += graph.Constant(Numbers.Normal(2, 6));
            long[] sizes = form switch { "parts of other sizes" => [2, 4], "three parts" => [2, 2, 2], _ => [3, 3] };
            var parts = y.Split(form == "another axis" ? 1 : -1, sizes);
            graph.Output(form == "parts of other sizes" ? Mean(parts[0]) + Tanh(parts[1]) : parts[0] * Tanh(parts[1]), "out");
            if (form == "product read twice") graph.Output(Tanh(y), "y");
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph,
            [.. graph.Inputs.Select(i => (i.Name, i.Name == "w" ? Numbers.Normal(1, 5, 6) : Numbers.Normal(3, 2, 6, 5)))])["out"];
        var graph = Build();
        Assert.Equal(expected ? 1 : 0, SplitGates.Apply(graph));
        Assert.Equal(expected, graph.Nodes.All(n => n.Op != "Split"));
        Numbers.AssertClose(Run(Build()), Run(graph), 1e-6);
    }

    [Fact]
    public void Apply_ExportedModel_SplitsEachFeedForwardAndMatchesReference()
    {
        var graph = ExportedModel.Prepared("unet-opset17", recognize: true);
        Assert.Equal(2, SplitGates.Apply(graph));
        Numbers.AssertClose(Golden.Tensors("torch", "unet-opset17", "golden.safetensors")["out_sample"],
            ExportedModel.Run(graph, "unet-opset17")["out_sample"], 1e-5);
    }
}
