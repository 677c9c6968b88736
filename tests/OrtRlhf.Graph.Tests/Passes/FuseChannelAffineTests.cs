using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class FuseChannelAffineTests
{
    public static TheoryData<string, bool> Forms => new()
    {
        { "group normalisation", true }, { "other order", true }, { "any batch and size", true }, { "product read twice", false },
            { "one number", false }, { "last axis", false }, { "batch of two matrices", false },
        { "scale is an input", false },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_IsFusedOrLeftAndGivesTheSame(string form, bool expected)
    {
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            var x = form == "any batch and size" ? graph.Input("x", ElementType.Float, "batch", 4, "height", "width")
                : graph.Input("x", ElementType.Float, 2, 4, 4, 4);
            Value C(int seed, params long[] sizes) => graph.Constant(Numbers.Normal(seed, sizes));
            var product = form switch
            {
                "one number" => x * C(1, 1, 1, 1),
                "last axis" => x * C(1, 4),
                "batch of two matrices" => x * C(1, 2, 1, 1, 1),
                "scale is an input" => x * graph.Input("s", ElementType.Float, 4, 1, 1),
                "other order" => C(1, 4, 1, 1) * x,
                _ => x * C(1, 4, 1, 1),
            };
            var y = form switch
            {
                "group normalisation" => GroupNorm(x, C(1, 4), C(2, 4), 2, 1e-5),
                "other order" => C(2, 4, 1, 1) + product,
                "last axis" => product + C(2, 4),
                _ => product + C(2, 4, 1, 1),
            };
            graph.Output(Tanh(y), "out");
            if (form == "product read twice") graph.Output(Exp(product), "other");
            LowerComposites.Apply(graph);
            return graph;
        }
        Tensor Run(OnnxGraph graph) => Ort.Run(graph,
            [.. graph.Inputs.Select(i => (i.Name, i.Name == "s" ? Numbers.Normal(1, 4, 1, 1) : Numbers.Normal(3, 2, 4, 4, 4)))])["out"];
        var graph = Build();
        Assert.Equal(expected ? 1 : 0, FuseChannelAffine.Apply(graph));
        Assert.Equal(expected, graph.Nodes.Any(n => n.Op == "BatchNormalization"));
        Numbers.AssertClose(Run(Build()), Run(graph), 1e-6);
    }
}
