using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;
using OrtRlhf.Tuning.Training;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Tuning.Tests.Models;

/// <summary>Denoisers whose weights lie as halves, with adapters and losses in floats.</summary>
public class HalfPrecisionTests
{
    private static readonly ModelOptions Half = new() { Dtype = Precision.Fp16 };
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Fact]
    public void StableDiffusion1_AdapterInFloats_MatchesReference()
    {
        var folder = GoldenFile.At("sd1-tiny");
        var golden = SafetensorsFile.Open(Path.Combine(folder, "lora_golden.safetensors"));
        var model = ImageModel.Open(folder, Half);
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(Path.Combine(folder, "lora.safetensors")), trainable: true);
        var (graph, layers) = policy.Denoiser(2);
        Assert.All(layers, l => Assert.Equal((ElementType.Float, ElementType.Float), (l.A.Type, l.B.Type)));
        Assert.All(graph.Inputs.Where(i => i.Name != "timestep").Concat(graph.Outputs), v => Assert.Equal(ElementType.Float, v.Type));
        var kept = graph.Nodes.Where(IsAtFullSize).Select(n => n.Input(1)).ToHashSet();
        Assert.True(graph.Values.Values.Where(v => v.Data is { Count: > 1000 }).All(v =>
            v.Type == ElementType.Float16 || v.Name.Contains("lora") || kept.Contains(v)), "large weights are halves");

        // Loss and gradients of mean (m - target)^2, the loss times 1024 on the way back.
        var loss = Mean(Square(graph.Outputs[0] - graph.Input("target", ElementType.Float,
            [.. golden["mse.target"].Dims.Select(d => (Dim)d)])));
        var training = TrainingGraph.Finish(loss * 1024, [.. layers.SelectMany(l => new[] { l.A, l.B })], ("out_sample", graph.Outputs[0]));
        using var gradients = policy.Adapters.Like();
        using var session = new GraphSession(training, OneThread).Bind(policy.Adapters)
            .BindOutputs(gradients, TrainingGraph.GradientSuffix);
        using var x = golden["forward.sample"].ToFloats().ToOrt(golden["forward.sample"].Dims);
        using var t = golden["forward.timestep"].ToInt64s().ToOrt(2);
        using var c = golden["forward.encoder_hidden_states"].ToFloats().ToOrt(golden["forward.encoder_hidden_states"].Dims);
        using var target = golden["mse.target"].ToFloats().ToOrt(golden["mse.target"].Dims);
        var outputs = session.Run(("sample", x), ("timestep", t), ("encoder_hidden_states", c), ("target", target));
        Numbers.Close(golden["forward.output_lora"].ToFloats(), outputs["out_sample"], 1e-2);
        // B has the scale alpha/r = 2 in it here: dA is the same, dB half of that of a factor in the graph.
        var errors = policy.Adapters.Names.Select(name => Numbers.Error(
            [.. golden["mse.grad." + name].ToFloats().Select(g => name.EndsWith("lora_B.weight", StringComparison.Ordinal) ? g / 2 : g)],
                [.. gradients[name].ToArray().Select(g => g / 1024)])).Order().ToArray();
        Assert.True(errors[^1] < 1e-2, $"gradients: median error {errors[errors.Length / 2]:E1}, worst {errors[^1]:E1}");
    }

    [Fact]
    public void WeightsKeptSingle_OfStableDiffusion15_AreUnderOnePercent()
    {
        var config = UNet2DConditionConfig.Parse(
            """{"_class_name":"UNet2DConditionModel","cross_attention_dim":768,"attention_head_dim":8,"sample_size":64}""");
        var weights = new Weights((name, shape) =>
            new Tensor(ElementType.Float, shape, () => throw new InvalidOperationException($"{name} is read")));
        var graph = WeightsInHalves.Apply(UNet2DConditionModel.Build(config, weights, 1, 64, 64, 77));
        double Share(ElementType type) => graph.Constants.Where(c => c.Type == type).Sum(c => c.Data!.Count) / 859_520_964.0;
        Assert.InRange(Share(ElementType.Float16), 0.98, 1); // the rest are norms and biases
        Assert.InRange(Share(ElementType.Float), 0.005, 0.01);
    }

    [Fact]
    public void Tune_InHalves_LearnsAsInFloats()
    {
        using var folder = new TempFolder();
        var single = TinyRun.Options(folder, "single") with { Epochs = 1, Ema = 0 };
        var half = single with { Output = folder.At("half"), ModelOptions = Half };
        TuningRun.Execute(single, TinyRun.Environment);
        var summary = TuningRun.Execute(half, TinyRun.Environment);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, EpochUpdates.HalfRatioTolerance / 4);
        var (a, b) = (Metrics(single), Metrics(half));
        Assert.InRange(b.GradientNorm!.Value / a.GradientNorm!.Value, 0.9, 1.1);
        Assert.Equal(Precision.Fp16, TuningMethods.ReadOptions(new RunFolder(half.Output).Options).ModelOptions.Dtype);
        Assert.Contains("\"fp16\"", File.ReadAllText(new RunFolder(half.Output).Options));

        static EpochMetrics Metrics(TuningOptions options) => JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics)[0];
    }

    [Theory]
    [InlineData(ElementType.Float16)]
    [InlineData(ElementType.Float)]
    public void Export_OfEitherPrecision_HasItsWeightsInHalves(ElementType type)
    {
        using var folder = new TempFolder();
        var exported = TinyModel.Export(TinyModel.Write(folder.At("model")), type);
        using var wide = RandomPolicy.Create(ImageModel.Open(exported), new LoraOptions { Rank = 2 });
        AdapterFile.Write(wide, folder.At("a.safetensors"));
        using var narrow = Policy.WithAdapter(ImageModel.Open(exported, Half), AdapterFile.Open(folder.At("a.safetensors")));
        var graph = narrow.Denoiser(2).Graph;
        var single = graph.Nodes.Where(n =>
            n.Op is "Conv" or "Gemm" or "MatMul" && n.Inputs[1] is { IsConstant: true, Type: ElementType.Float }).ToList();
        Assert.Contains(single, n => n.Name.Contains("conv_out/", StringComparison.Ordinal));
        Assert.All(single, n => Assert.True(IsAtFullSize(n), n.Name));
        Assert.Contains(graph.Nodes, n => n.Op is "Conv" or "MatMul" && n.Input(1)?.Producer is { Op: "Cast" });
        var (expected, got) = (RandomPolicy.Denoise(wide), RandomPolicy.Denoise(narrow));
        Numbers.Close(expected, got, 1e-2);
        if (type == ElementType.Float) Assert.True(Numbers.Error(expected, got) > 1e-5, "nothing is in halves");
    }

    [Fact]
    public void Import_OfAnExportInFloats_KeepsItInHalves()
    {
        using var folder = new TempFolder();
        var exported = TinyModel.Export(TinyModel.Write(folder.At("model")));
        Directory.Delete(Path.Combine(exported, "vae"), recursive: true);
        CheckpointImport.Write(ImportPlan.Make(exported, new ImportOptions { Type = ElementType.Float16 }), folder.At("half"));
        foreach (var part in (string[])["unet", "text_encoder", "vae_decoder"])
        {
            var graph = OnnxFile.Read(folder.At("half", part, "model.onnx"));
            Assert.DoesNotContain(graph.Constants, c => c is { Type: ElementType.Float, Data.Count: > 200 });
            Assert.All(graph.Outputs, o => Assert.Equal(ElementType.Float16, o.Type));
        }
        using var single = Policy.OfBase(ImageModel.Open(exported));
        using var half = Policy.OfBase(ImageModel.Open(folder.At("half")));
        Numbers.Close(RandomPolicy.Denoise(single), RandomPolicy.Denoise(half), 1e-2);
        var options = new SamplingOptions { Steps = 2, GuidanceScale = 2, Eta = 1 };
        using var a = new Pipeline(single, options, OneThread);
        using var b = new Pipeline(half, options, OneThread);
        SampleRequest[] requests = [new("a cat", 1, 0, 0)];
        Assert.True(a.Sample(requests)[0].Image.Pixels.ToArray().Zip(b.Sample(requests)[0].Image.Pixels.ToArray()).Max(p =>
            Math.Abs(p.First - p.Second)) < 16);
    }

    // In models of two resolutions.
    private static bool IsAtFullSize(Node node) =>
        ((string[])["/conv_in/", "/conv_out/", "/down_blocks.0/", "/up_blocks.1/"]).Any(("/" + node.Name).Contains);

    [Fact]
    public void LossScale_HalvesOnOverflow_GrowsAfterManyRuns_GivesUp()
    {
        var scale = new LossScale();
        Assert.False(scale.Accept(isFinite: false));
        Assert.Equal(32768, scale.Value);
        for (var i = 0; i < LossScale.GrowthInterval; i++) Assert.True(scale.Accept(isFinite: true));
        Assert.Equal(65536, scale.Value);
        Assert.Contains("use `Dtype` fp32", Assert.Throws<UserError>(() =>
        {
            while (!scale.Accept(isFinite: false)) { }
        }).Message);
        scale.Reset();
        Assert.Equal(65536, scale.Value);
    }
}
