using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Graph.Tests.Gradients.Cases;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Gradients;

public class GradientRulesTests
{
    public static TheoryData<string> Names => [.. RuleCases.Table.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void Rule_MatchesFiniteDifference(string name)
    {
        var graph = new OnnxGraph(name);
        RuleCases.Table[name](graph);
        Assert.Contains(graph.Nodes, n => n.Op == RuleCases.OperatorOf(name));
        FiniteDifference.Check(RuleCases.Table[name]);
    }

    public static TheoryData<string> Convolutions => [.. RuleCases.Table.Keys.Where(k => RuleCases.OperatorOf(k) == "Conv")];

    [Theory]
    [MemberData(nameof(Convolutions))]
    public void Conv_OfSharedWeights_MatchesFiniteDifference(string name) =>
        FiniteDifference.Check(RuleCases.Table[name], new GradientOptions { SharedWeights = true });

    public static TheoryData<string> Attentions => [.. RuleCases.Table.Keys.Where(k => RuleCases.OperatorOf(k) == "Attention")];

    [Theory]
    [MemberData(nameof(Attentions))]
    public void Attention_OfScoresTakenAgain_MatchesFiniteDifference(string name) =>
        FiniteDifference.Check(RuleCases.Table[name], new GradientOptions { RecomputeScores = true });

    [Theory]
    [InlineData(64, false, 1)]
    [InlineData(1024, false, 4)]
    [InlineData(1024, true, 8)]
    [InlineData(4096, false, 8)]
    public void Attention_OfManyScores_RunsHeadByHeadAndOfVeryManyTakesThemAgain(long cells, bool recompute, int softmaxes)
    {
        var graph = new OnnxGraph("attention");
        var x = graph.Parameter("x", new Tensor(ElementType.Float, [1, 4, cells, 8], () => []));
        var loss = Mean(Attention(x, x, x, 0.5));
        graph.Output(GradientBuilder.Add(loss, [x], new GradientOptions { RecomputeScores = recompute })[x], "x_grad");
        LowerComposites.Apply(graph);
        Assert.Equal(softmaxes, graph.Nodes.Count(n => n.Op == "Softmax"));
        Assert.All(graph.Nodes.Where(n => n.Op == "Softmax" && softmaxes > 1), n => Assert.Equal([1, cells, cells], n.Output.Sizes));
    }

    [Theory]
    [InlineData(0, 2)]
    [InlineData(1, 6)]
    public void Attention_OfScoresTakenAgain_OnnxRuntimeDoesNotKeepThem(long oneByOne, int softmaxes)
    {
        var graph = new OnnxGraph("again");
        var x = graph.Parameter("x", Numbers.Normal(1, 3, 8, 4));
        var y = graph.Op("Attention", OnnxGraph.CompositeDomain, 2, [Exp(x), Tanh(x), Sin(x)], ("scale", 0.5f),
            ("one_by_one", oneByOne))[0];
        graph.Output(GradientBuilder.Add(Mean(Square(y)), [x], new GradientOptions { RecomputeScores = true })[x], "x_grad");
        var path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.onnx");
        try
        {
            using var options = Ort.Options();
            options.OptimizedModelFilePath = path;
            using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
            Assert.Equal(softmaxes, OnnxFile.Read(path).Nodes.Count(n => n.Op == "Softmax"));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Conv_OfSharedWeights_MakesNoCopyOfThem()
    {
        IEnumerable<string> Weights(bool shared)
        {
            var graph = new OnnxGraph("shared");
            var x = graph.Parameter("x", Numbers.Normal(1, 1, 2, 4, 4));
            var y = Conv(x, graph.Constant(Numbers.Normal(2, 3, 2, 3, 3), "w"), null, 1, [1, 1, 1, 1]);
            GradientBuilder.Add(Sum(y), [x], new GradientOptions { SharedWeights = shared });
            return graph.Constants.Where(c => c.Data!.Count == 54).Select(c => c.Name);
        }
        Assert.Equal(["w"], Weights(true));
        Assert.Equal(["w", "w/flipped"], Weights(false));
    }

    [Fact]
    public void Table_EveryRule_HasAFiniteDifferenceCase()
    {
        var tested = RuleCases.Table.Keys.Select(RuleCases.OperatorOf).ToHashSet();
        string[] rules = [.. GradientRules.Differentiable, .. Composite.Names.Where(n => n != "StopGradient")];
        Assert.Equal([], rules.Except(tested));
    }

    [Fact]
    public void StopGradient_IsAConstantToTheGradient()
    {
        var (x, w) = (Numbers.Normal(1, 2, 3), Numbers.Normal(2, 2, 3));
        var gradient = FiniteDifference.Gradients(g => { var p = g.Parameter("p", x); return p * StopGradient(p * p); }, w, null)["p"];
        Numbers.AssertClose(Tensor.Of([.. x.ToFloats().Zip(w.ToFloats(), (a, b) => a * a * b)], 2, 3), gradient, 1e-6);
    }

    [Theory]
    [InlineData("Floor")]
    [InlineData("Ceil")]
    [InlineData("Round")]
    [InlineData("Sign")]
    public void OperatorWithoutGradient_GivesZeros(string op)
    {
        var gradient = FiniteDifference.Gradients(g =>
            g.Op(op, [g.Parameter("p", Numbers.Normal(1, 2, 3))]), Numbers.Normal(2, 2, 3), null)["p"];
        Assert.All(gradient.ToFloats(), v => Assert.Equal(0, v));
    }

    [Fact]
    public void Parameter_OnWhichTheLossDoesNotDepend_GetsZeros()
    {
        var gradients = FiniteDifference.Gradients(g =>
        {
            g.Parameter("unused", Numbers.Normal(1, 2, 3));
            var compared = g.Parameter("compared", Numbers.Normal(2, 4));
            return g.Parameter("p", Numbers.Normal(3, 4)) * Cast(Greater(compared, g.Scalar(ElementType.Float, 0)), ElementType.Float);
        }, Numbers.Normal(4, 4), null);
        Assert.Equal([2, 3], gradients["unused"].Dims);
        Assert.All(gradients["unused"].ToFloats().Concat(gradients["compared"].ToFloats()), v => Assert.Equal(0, v));
        Assert.Contains(gradients["p"].ToFloats(), v => v != 0);
    }

    [Fact]
    public void ValueReadManyTimes_SumsItsGradients() => FiniteDifference.Check(g =>
    {
        var x = g.Parameter("p", Numbers.Normal(1, 2, 3));
        var y = Tanh(x);
        return (y * x) + Exp(y) + y.Slice(1, 0, 1) + Softmax(y) + (y * y);
    });

    [Fact]
    public void Extreme_OfEqualValues_GivesTheGradientOnce()
    {
        foreach (var op in new[] { "Max", "Min" })
        {
            var same = Tensor.Of([1f, 2f], 2);
            var gradients = FiniteDifference.Gradients(g =>
                g.Op(op, [g.Parameter("a", same), g.Parameter("b", same), g.Parameter("c", same)]), Tensor.Of([3f, 5f], 2), null);
            Assert.Equal([3f, 5f],
                gradients["a"].ToFloats().Zip(gradients["b"].ToFloats(), (a, b) => a + b).Zip(gradients["c"].ToFloats(), (a, b) => a + b));
        }
        var shared = FiniteDifference.Gradients(g =>
            g.Op("ReduceMax", [g.Parameter("p", Tensor.Of([2f, 1f, 2f], 3))]), Tensor.Of([4f], 1), null)["p"];
        Assert.Equal([2f, 0f, 2f], shared.ToFloats());
    }

    public static TheoryData<string, string> Refused => new()
    {
        { "TopK", "must not be differentiated" },
        { "CumSum", "no gradient rule for operator CumSum (opset 17)" },
        { "Resize aligned", "expected nearest enlarging" },
        { "Resize linear", "expected nearest enlarging" },
        { "Pad reflected", "padding mode constant" },
        { "Conv grouped", "2 groups" },
        { "Dropout in training", "training" },
        { "Einsum that sums", "sums an axis of one term alone" },
        { "Einsum of a diagonal", "each letter once a term" },
        { "not scalar", "expected a scalar loss" },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void WhatHasNoRule_ThrowsAndNamesTheNode(string what, string expected)
    {
        var graph = new OnnxGraph("refused");
        using var scope = graph.Scope("layer7");
        var p = graph.Parameter("p", Numbers.Normal(1, 1, 2, 4, 4));
        var two = graph.Constant(Tensor.Of([1f, 1f, 2f, 2f], 4));
        var y = what switch
        {
            "TopK" => graph.Op("TopK", "", 2, [p, graph.Constant(Tensor.Vector(2))])[0],
            "CumSum" => graph.Op("CumSum", [p, graph.Constant(Tensor.Scalar(1L))]),
            "Resize aligned" => graph.Op("Resize", [p, null, two], ("coordinate_transformation_mode", "align_corners")),
            "Resize linear" => graph.Op("Resize", [p, null, two], ("mode", "linear")),
            "Pad reflected" => graph.Op("Pad", [p, graph.Constant(Tensor.Vector(0, 0, 1, 1, 0, 0, 1, 1))], ("mode", "reflect")),
            "Conv grouped" => graph.Op("Conv", [graph.Constant(Numbers.Normal(2, 1, 4, 5, 5)), p], ("group", 2L)),
            "Einsum that sums" => graph.Op("Einsum", [p], ("equation", "bchw->bcw")),
            "Einsum of a diagonal" => graph.Op("Einsum", [p], ("equation", "bchh->bch")),
            "Dropout in training" => graph.Op("Dropout", [p, null, graph.Constant(Tensor.Of([true]))]),
            _ => p,
        };
        if (what == "TopK") (y.Type, y.Shape) = (ElementType.Float, Shape.Of(1, 2, 4, 2));
        if (what == "Conv grouped") p = graph["p"];
        var error = Assert.Throws<UserError>(() => GradientBuilder.Add(what == "not scalar" ? y : Sum(y), [p]));
        Assert.Contains(expected, error.Message);
        if (what != "not scalar") Assert.Contains("layer7", error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }
}
