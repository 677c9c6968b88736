using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Passes;

public class InjectLoraTests
{
    private static readonly (string, Tensor)[] Inputs = [("x", Numbers.Normal(1, 2, 3, 6)), ("image", Numbers.Normal(2, 2, 4, 6, 6))];

    /// <summary>
    /// A MatMul with bias, one without, a Gemm, and convolutions of 3x3 with stride 2 and 1x1; weights changed by <paramref name="merge"/>.
    /// </summary>
    private static OnnxGraph Model(Func<string, Tensor, Tensor>? merge = null)
    {
        merge ??= (_, w) => w;
        var graph = new OnnxGraph("layers");
        var x = graph.Input("x", ElementType.Float, "batch", 3, 6);
        var image = graph.Input("image", ElementType.Float, "batch", 4, "height", "width");
        using (graph.Scope("block.0"))
        using (graph.Scope("attn"))
        {
            Value q, k, o;
            using (graph.Scope("to_q")) q = MatMul(x, Weight("q", 3, 6, 8)) + Weight("qb", 4, 8);
            using (graph.Scope("to_k")) k = MatMul(x, Weight("k", 5, 6, 8));
            using (graph.Scope("to_out.0")) o = Gemm((q * k).Reshape(-1, 8), Weight("o", 6, 5, 8), Weight("ob", 7, 5), transposeB: true);
            graph.Output(o, "y");
        }
        using (graph.Scope("block.1"))
        {
            using (graph.Scope("conv1")) image = Conv(image, Weight("c1", 8, 5, 4, 3, 3), Weight("c1b", 9, 5), 2, [1, 1, 1, 1]);
            using (graph.Scope("conv_shortcut")) image = Conv(Relu(image), Weight("c2", 10, 3, 5, 1, 1), null);
            graph.Output(image, "z");
        }
        return graph;

        Value Weight(string name, int seed, params long[] dims) => graph.Constant(merge(name, Numbers.Normal(seed, dims)), name);
    }

    private static readonly LoraOptions All = new() { Targets = ["to_*", "to_out.0", "block.1.*"], Rank = 2, Alpha = 6 };

    [Fact]
    public void Apply_AllKindsOfLayers_EqualsMergedWeights()
    {
        var graph = Model();
        var layers = InjectLora.Apply(graph, All);
        Assert.Equal(["block.0.attn.to_q", "block.0.attn.to_k", "block.0.attn.to_out.0", "block.1.conv1", "block.1.conv_shortcut"],
            layers.Select(l => l.Path));
        Assert.Equal("unet.block.1.conv1.lora_A.weight", layers[3].A.Name);
        Assert.Equal([2, 4, 3, 3], layers[3].A.Sizes);
        Assert.Equal([5, 2, 1, 1], layers[3].B.Sizes);
        Assert.Equal([2, 8], layers[2].A.Sizes);
        Assert.Equal([5, 2], layers[2].B.Sizes);
        Assert.Equal((6, 8), (layers[0].In, layers[0].Out));

        var given = layers.SelectMany((l, i) =>
            new[] { (l.A.Name, Numbers.Normal(100 + i, l.A.Sizes)), (l.B.Name, Numbers.Normal(200 + i, l.B.Sizes)) }).ToArray();
        var tensors = given.ToDictionary(g => g.Name, g => g.Item2);
        var names = new Dictionary<string, string>
        {
            ["q"] = "block.0.attn.to_q",
            ["k"] = "block.0.attn.to_k",
            ["o"] = "block.0.attn.to_out.0",
            ["c1"] = "block.1.conv1",
            ["c2"] = "block.1.conv_shortcut"
        };
        var merged = Model((name, w) => names.TryGetValue(name, out var path)
            ? Merge(w, tensors[$"unet.{path}.lora_A.weight"], tensors[$"unet.{path}.lora_B.weight"], name is "q" or "k", 3) : w);

        var (actual, expected) = (Ort.Run(graph, [.. Inputs, .. given]), Ort.Run(merged, Inputs));
        Numbers.AssertClose(expected["y"], actual["y"], 1e-5);
        Numbers.AssertClose(expected["z"], actual["z"], 1e-5);
        Assert.True(Numbers.Error(Ort.Run(Model(), Inputs)["y"], actual["y"]) > 0.1, "the adapter must change the output");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Apply_Defaults_GiveExactlyTheBaseOutput(bool anyRank)
    {
        var graph = Model();
        InjectLora.Apply(graph, All with { AnyRank = anyRank });
        var (actual, expected) = (Ort.Run(graph, Inputs), Ort.Run(Model(), Inputs));
        Assert.Equal(expected["y"].ToFloats(), actual["y"].ToFloats());
        Assert.Equal(expected["z"].ToFloats(), actual["z"].ToFloats());
    }

    [Fact]
    public void Apply_AnyRank_AcceptsAnotherRankInEachLayer()
    {
        var open = Model();
        var layers = InjectLora.Apply(open, All with { AnyRank = true });
        var given = new List<(string, Tensor)>();
        var zeros = new List<(string, Tensor)>();
        for (var i = 0; i < layers.Count; i++)
        {
            if (i == 1) continue; // one layer keeps its empty default
            var rank = i + 1;
            var (a, b) = (Numbers.Normal(300 + i, [rank, .. layers[i].A.Data!.Dims[1..]]),
                Numbers.Normal(400 + i, [layers[i].Out, rank, .. layers[i].B.Data!.Dims[2..]]));
            given.AddRange([(layers[i].A.Name, a), (layers[i].B.Name, b)]);
        }
        foreach (var layer in layers)
        {
            // The same adapters in a model of rank 5: rows of zeros behind.
            var a = given.FirstOrDefault(g => g.Item1 == layer.A.Name).Item2;
            var b = given.FirstOrDefault(g => g.Item1 == layer.B.Name).Item2;
            if (a is null || b is null) continue;
            var inner = a.Count / a.Dims[0];
            var (wideA, wideB) = (new float[5 * inner], new float[layer.Out * 5]);
            a.ToFloats().CopyTo(wideA, 0);
            for (var o = 0; o < layer.Out; o++) b.ToFloats().AsSpan((int)(o * a.Dims[0]), (int)a.Dims[0]).CopyTo(wideB.AsSpan(o * 5));
            zeros.AddRange([(layer.A.Name, Tensor.Of(wideA, [5, .. a.Dims[1..]])),
                (layer.B.Name, Tensor.Of(wideB, [layer.Out, 5, .. b.Dims[2..]]))]);
        }
        var wide = Model();
        InjectLora.Apply(wide, All with { Rank = 5, Alpha = 15 });
        var (actual, expected) = (Ort.Run(open, [.. Inputs, .. given]), Ort.Run(wide, [.. Inputs, .. zeros]));
        Numbers.AssertClose(expected["y"], actual["y"], 1e-6);
        Numbers.AssertClose(expected["z"], actual["z"], 1e-6);
    }

    [Fact]
    public void Apply_SameModuleTwice_SharesTheAdapter()
    {
        var graph = new OnnxGraph("shared");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        var w = graph.Constant(Numbers.Normal(1, 4, 4), "to_q.weight");
        graph.Output(MatMul(MatMul(x, w), w), "y");
        Assert.Single(InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q"] }));
        Assert.Equal(3, graph.Inputs.Count);
    }

    [Fact]
    public void Apply_NamesOfPyTorchsExporter_GiveTheModulesFullPaths()
    {
        // Containers that are only indexed leave no trace in nodes' names, what is met again gets a number, linear weights lose their
        // names.
        var graph = new OnnxGraph("traced");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        foreach (var (block, number) in new[] { ("down_blocks.0", ""), ("mid_block", "_1") })
        {
            using (graph.Scope("attentions.0"))
            {
                using (graph.Scope($"norm{number}")) x *= graph.Constant(Numbers.Normal(1, 4), $"{block}.attentions.0.norm.weight");
                using (graph.Scope($"attn1{number}")) x = Exp(x);
                using (graph.Scope("attn1"))
                using (graph.Scope($"to_q{number}")) x = MatMul(x, graph.Constant(Numbers.Normal(2, 4, 4), $"onnx::MatMul_{block.Length}"));
                using (graph.Scope("attn1"))
                using (graph.Scope($"to_out.0{number}")) x = MatMul(x, graph.Constant(Numbers.Normal(3, 4, 4),
                    $"onnx::MatMul_{block.Length}0")) + graph.Constant(Numbers.Normal(4, 4), $"{block}.attentions.0.attn1.to_out.0.bias");
            }
        }
        using (graph.Scope("time_embedding"))
        using (graph.Scope("linear_1")) x = MatMul(x, graph.Constant(Numbers.Normal(5, 4, 4), "onnx::MatMul_1"));
        graph.Output(x, "y");
        var paths = InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q", "to_out.0", "linear_1"] }).Select(l => l.Path);
        Assert.Equal(["down_blocks.0.attentions.0.attn1.to_q", "down_blocks.0.attentions.0.attn1.to_out.0",
            "mid_block.attentions.0.attn1.to_q",
            "mid_block.attentions.0.attn1.to_out.0", "time_embedding.linear_1"], paths);
    }

    [Fact]
    public void Apply_ModulesThatNamesDoNotTellApart_GetAdaptersOfTheirOwn()
    {
        var graph = new OnnxGraph("alike");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        for (var i = 0; i < 3; i++)
            using (graph.Scope("to_q")) x = MatMul(x, graph.Constant(Numbers.Normal(i, 4, 4), $"onnx::MatMul_{i}"));
        graph.Output(x, "y");
        Assert.Equal(["to_q", "to_q_1", "to_q_2"], InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q"] }).Select(l => l.Path));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Apply_WeightBehindATranspose_IsNamedByIt(bool folded)
    {
        var graph = new OnnxGraph("dynamo");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        graph.Output(MatMul(x, graph.Constant(Numbers.Normal(1, 5, 4), "mid.to_q.weight").T()), "y");
        if (folded) FoldConstants.Apply(graph);
        var layer = Assert.Single(InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q"] }));
        Assert.Equal(("mid.to_q", 4, 5), (layer.Path, layer.In, layer.Out));
    }

    [Fact]
    public void Apply_PrefixInPathAlready_IsNotDoubled()
    {
        var graph = new OnnxGraph("wrapped");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        using (graph.Scope("unet"))
        using (graph.Scope("to_q")) graph.Output(MatMul(x, graph.Constant(Numbers.Normal(1, 4, 4))), "y");
        Assert.Equal("unet.to_q.lora_A.weight", InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q"] })[0].A.Name);
    }

    [Fact]
    public void Apply_DefaultsOfTransformers_TakeTheLayersThatAreThere()
    {
        var layers = InjectLora.Apply(Model(), new LoraOptions { Targets = [.. LoraOptions.JointAttentionTargets] });
        Assert.NotEmpty(layers);
        Assert.Equal(InjectLora.Find(Model(), LoraOptions.JointAttentionTargets).Select(f => f.Path), layers.Select(l => l.Path));
        Assert.Throws<UserError>(() =>
            InjectLora.Apply(Model(), new LoraOptions { Targets = LoraOptions.JointAttentionTargets.Skip(1).ToArray() }));
    }

    [Fact]
    public void Apply_TargetMatchesNothing_ThrowsAndNamesNearModules()
    {
        var error = Assert.Throws<UserError>(() => InjectLora.Apply(Model(), new LoraOptions { Targets = ["to_q", "to_out"] }));
        Assert.StartsWith("LoRA target 'to_out': matches no linear or convolution layer of model 'layers'; near ones are", error.Message);
        Assert.Contains("to_q", error.Message);
    }

    [Fact]
    public void Apply_GroupedConvolution_ThrowsForIt()
    {
        var graph = new OnnxGraph("grouped");
        var x = graph.Input("x", ElementType.Float, 1, 4, 5, 5);
        using (graph.Scope("conv1")) graph.Output(graph.Op("Conv", [x, graph.Constant(Numbers.Normal(1, 4, 1, 3, 3))], ("group", 4L)), "y");
        Assert.Contains("conv1", Assert.Throws<UserError>(() => InjectLora.Apply(graph, new LoraOptions { Targets = ["conv1"] })).Message);
    }

    [Fact]
    public void Validate_SeveralFaults_NamesThemAll()
    {
        var error = Assert.Throws<UserError>(() =>
            new LoraOptions { Targets = [], Rank = 0, Alpha = -1, Type = ElementType.Int64 }.Validate());
        foreach (var word in new[] { "targets", "rank", "alpha", "type" }) Assert.Contains(word, error.Message);
    }

    [Theory]
    [InlineData("to_q", "a.b.to_q", true)]
    [InlineData("to_q", "a.b.add_to_q", false)]
    [InlineData("to_q", "to_q", true)]
    [InlineData("to_out.0", "a.to_out.0", true)]
    [InlineData("to_out", "a.to_out.0", false)]
    [InlineData("attn2.*", "a.attn2.to_k", true)]
    [InlineData("attn2.*", "a.attn2.to_out.0", false)]
    [InlineData("attn2.**", "a.attn2.to_out.0", true)]
    [InlineData("down_blocks.**.to_*", "down_blocks.0.attentions.1.attn1.to_v", true)]
    [InlineData("down_blocks.**.to_*", "up_blocks.0.attentions.1.attn1.to_v", false)]
    [InlineData("**.conv?", "a.conv1", false)]
    [InlineData("a.**.b", "a.b", true)]
    public void Glob_MatchesTheEndOfAPath(string glob, string path, bool expected) =>
        Assert.Equal(expected, ModuleGlob.Matcher(glob)(path));

    /// <summary>W + scale B A in double; a MatMul's weight lies transposed.</summary>
    private static Tensor Merge(Tensor weight, Tensor a, Tensor b, bool transposed, double scale)
    {
        var (w, fa, fb) = (weight.ToFloats(), a.ToFloats(), b.ToFloats());
        int rank = (int)a.Dims[0], inner = (int)(a.Count / rank), outer = (int)b.Dims[0];
        for (var o = 0; o < outer; o++)
        {
            for (var i = 0; i < inner; i++)
            {
                double sum = 0;
                for (var r = 0; r < rank; r++) sum += (double)fb[(o * rank) + r] * fa[(r * inner) + i];
                w[transposed ? (i * outer) + o : (o * inner) + i] += (float)(scale * sum);
            }
        }
        return Tensor.Of(w, weight.Dims);
    }
}
