using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

/// <summary>Whole networks and their gradients are in the tests of models.</summary>
public class ShareGuidedTests
{
    // Nodes on half a batch, which those that meet the text, or the whole batch, are not.
    public static TheoryData<string, int> Forms => new()
    {
        { "elementwise", 2 }, { "any batch", 2 }, { "reshapes", 5 }, { "convolution", 2 }, { "read by text and an output", 1 },
            { "constant by row", 0 }, { "rows exchanged", 0 }, { "mean of the batch", 2 }, { "odd batch", 0 },
        { "resized to sizes", 1 }, { "joined with a constant by row", 1 }, { "attention with a mask by row", 0 },
            { "product over the batch", 1 },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void Apply_Form_ComputesWhatBothHalvesShareOnce(string form, int expected)
    {
        long rows = form == "odd batch" ? 3 : 4;
        OnnxGraph Build()
        {
            var graph = new OnnxGraph(form);
            Dim batch = form == "any batch" ? "batch" : rows;
            var x = graph.Input("x", ElementType.Float, batch, 2, 3, 4);
            var text = graph.Input("text", ElementType.Float, batch, 2, 3, 4);
            var h = form switch
            {
                "reshapes" => Exp(x.Reshape(4, 6, 4).Transpose(0, 2, 1)).Transpose(0, 2, 1).Reshape(0, 2, 3, 4),
                "convolution" => Tanh(Conv(x, graph.Constant(Numbers.Normal(1, 2, 2, 3, 3)), graph.Constant(Numbers.Normal(2, 2)), 1,
                    [1, 1, 1, 1])),
                "constant by row" => x * graph.Constant(Numbers.Normal(1, 4, 1, 1, 1)),
                "rows exchanged" => x.Transpose(1, 0, 2, 3).Transpose(1, 0, 2, 3),
                "resized to sizes" =>
                    Mean(graph.Op("Resize", [Tanh(x), null, null, graph.Constant(Tensor.Vector(4, 2, 6, 8))]), [2, 3], true),
                "joined with a constant by row" => Layout.Concat(1, Tanh(x), graph.Constant(Numbers.Normal(1, 4, 1, 3, 4))).Slice(1, 1, 3),
                "attention with a mask by row" => Attention(x, x, x, 0.5, graph.Constant(Numbers.Normal(1, 4, 1, 3, 3))),
                "product over the batch" => MatMul(graph.Constant(Numbers.Normal(1, 4, 4)), x.Reshape(4, 24)).Reshape(4, 2, 3, 4),
                "mean of the batch" => Tanh(x) - Mean(Tanh(x), [0], true),
                _ => Tanh(x) * graph.Constant(Numbers.Normal(1, 4)),
            };
            graph.Output(h * text, "out");
            if (form == "read by text and an output") graph.Output(h, "h");
            return graph;
        }
        Tensor Half(int seed) => Numbers.Normal(seed, rows / 2, 2, 3, 4);
        var x = rows == 3 ? Numbers.Normal(1, 3, 2, 3, 4)
            : new Tensor(ElementType.Float, [4, 2, 3, 4], [.. Half(1).Bytes(), .. Half(1).Bytes()]);
        Dictionary<string, Tensor> Run(OnnxGraph graph) => Ort.Run(graph, ("x", x), ("text", Numbers.Normal(2, rows, 2, 3, 4)));
        var graph = Build();
        Assert.Equal(expected, ShareGuided.Apply(graph, "x"));
        LowerComposites.Apply(graph);
        var plain = Build();
        LowerComposites.Apply(plain);
        var (apart, shared) = (Run(plain), Run(graph));
        Assert.All(apart, result => Numbers.AssertClose(result.Value, shared[result.Key], 1e-6));
    }

    [Fact]
    public void Apply_SecondHalfOfOtherNumbers_IsNotLookedAt()
    {
        var graph = new OnnxGraph("halves");
        graph.Output(Exp(graph.Input("x", ElementType.Float, 2, 3)) * graph.Input("text", ElementType.Float, 2, 3), "out");
        ShareGuided.Apply(graph, "x");
        var result = Ort.Run(graph, ("x", Tensor.Of([0f, 0, 0, 7, 7, 7], 2, 3)), ("text", Tensor.Of([1f, 2, 3, 4, 5, 6], 2, 3)))["out"];
        Assert.Equal([1f, 2, 3, 4, 5, 6], result.ToFloats());
    }
}
