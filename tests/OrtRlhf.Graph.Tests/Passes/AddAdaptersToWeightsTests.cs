using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class AddAdaptersToWeightsTests
{
    public static TheoryData<string, bool> Forms => new()
    {
        { "bias", true }, { "no bias", true }, { "alpha", true }, { "any batch", true }, { "few rows", false }, { "any rank", false },
            { "gradient reads between", false }, { "output read beside", false },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_IsAddedOrLeftAndGivesTheSame(string form, bool expected)
    {
        var (rows, rank) = (form == "few rows" ? 2 : 6, 3);
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var x = graph.Input("x", ElementType.Float, form == "any batch" ? "batch" : 2, rows, 8);
            Value y;
            using (graph.Scope("layer"))
            {
                y = MatMul(x, graph.Constant(Numbers.Normal(1, 8, 4)));
                if (form != "no bias") y += graph.Constant(Numbers.Normal(2, 4));
            }
            graph.Output(Tanh(y), "out");
            InjectLora.Apply(graph,
                new LoraOptions { Targets = ["layer"], Rank = rank, Alpha = form == "alpha" ? 5 : null, AnyRank = form == "any rank" });
            if (form == "gradient reads between") graph.Output(Exp(graph.Nodes.First(n =>
                n.Op == "MatMul" && n.Output.Shape![-1].Size == rank).Output), "between");
            if (form == "output read beside") graph.Output(Exp(y), "beside");
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph, [.. graph.Inputs.Select((i, n) =>
            (i.Name, Numbers.Normal(5 + n, i.Name == "x" ? [2, rows, 8] : i.Name.Contains("lora_A") ? [rank, 8] : [4, rank])))])["out"];
        var graph = Build();
        Assert.Equal(expected ? 1 : 0, AddAdaptersToWeights.Apply(graph));
        Assert.Equal(expected ? 2 : 3, graph.Nodes.Count(n => n.Op == "MatMul"));
        Numbers.AssertClose(Run(Build()), Run(graph), 2e-6);
    }
}
