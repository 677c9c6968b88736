using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Exported;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class MergeProjectionsTests
{
    [Theory]
    [InlineData("unet-opset17", 7)] // its two modules go by one path, so that their projections of the text become one
    [InlineData("unet-linear-opset17", 6)]
    [InlineData("unet-small-fp16-opset17", 3)]
    public void Apply_AdaptedNetwork_MergesQueriesKeysAndValuesAndKeepsTheGradients(string name, int expected)
    {
        Dictionary<string, Tensor> Results(bool merge)
        {
            IReadOnlyList<LoraLayer> layers = [];
            var graph = ExportedModel.Prepared(name, recognize: true, g =>
            {
                WidenHalves.Apply(g);
                layers = InjectLora.Apply(g, new LoraOptions { Type = ElementType.Float });
            });
            if (merge) Assert.Equal(expected, MergeProjections.Apply(graph));
            ExportedModel.Differentiate(graph, [.. layers.SelectMany(l => new[] { l.A, l.B })], 1024);
            return ExportedModel.Run(graph, name, layers.SelectMany((l, i) => new[] { (l.A.Name, Numbers.Normal(i, l.A.Sizes)), (l.B.Name, Numbers.Normal(100 + i, l.B.Sizes)) }));
        }
        var (merged, apart) = (Results(true), Results(false));
        Assert.Equal(apart.Keys.Order(), merged.Keys.Order());
        Assert.All(apart, r => Numbers.AssertClose(r.Value, merged[r.Key], 1e-4));
    }

    [Fact]
    public void Apply_ProductsOfOtherModulesOrWithoutNames_StayApart()
    {
        var graph = new OnnxGraph("apart");
        var x = graph.Input("x", ElementType.Float, "batch", 4);
        foreach (var module in new[] { "one/to_q", "two/to_q" })
            using (graph.Scope(module)) graph.Output(MatMul(x, graph.Constant(Numbers.Normal(1, 4, 4))), module);
        graph.Output(MatMul(x, graph.Constant(Numbers.Normal(1, 4, 4))) + MatMul(x, graph.Constant(Numbers.Normal(2, 4, 4))), "y");
        Assert.Equal(0, MergeProjections.Apply(graph));
        Assert.Equal(4, graph.Nodes.Count(n => n.Op == "MatMul"));
    }
}
