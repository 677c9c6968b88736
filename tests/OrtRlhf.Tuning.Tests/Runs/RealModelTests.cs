using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

/// <summary>Runs from end to end on models in the forms that users have them: a checkpoint, Optimum's exports, PyTorch's.</summary>
public class RealModelTests
{
    [Fact]
    public void Tune_StableDiffusion1Checkpoint_RunsEndToEnd()
    {
        using var folder = new TempFolder();
        Runs(folder, GoldenFile.At("sd1-tiny"), options =>
            options with { Images = 4, PromptsPerEpoch = 4, EvaluationImages = 2, Sampling = new() { Steps = 2, GuidanceScale = 5 } });
    }

    [Theory]
    [InlineData(ElementType.Float)]
    [InlineData(ElementType.Float16)]
    public void Tune_OptimumsLayout_RunsEndToEnd(ElementType type)
    {
        using var folder = new TempFolder();
        Runs(folder, TinyModel.Export(TinyModel.Write(folder.At("model")), type));
    }

    [Theory]
    [InlineData("unet-opset17")]
    [InlineData("unet-linear-opset17")]
    [InlineData("unet-small-opset14")]
    [InlineData("unet-small-opset20")]
    [InlineData("unet-small-fp16-opset17")]
    public void Tune_PyTorchsExport_RunsEndToEnd(string name)
    {
        using var folder = new TempFolder();
        Runs(folder, TinyModel.WriteAround(folder.At("model"), GoldenFile.At("torch", name)));
    }

    private static void Runs(TempFolder folder, string model, Func<TuningOptions, TuningOptions>? change = null)
    {
        TuningOptions options = TinyRun.Options(folder, "run") with
        {
            Model = model,
            Epochs = 1,
            Sampling = new() { Steps = 3, GuidanceScale = 2, BatchSize = 8 }
        };
        var clip = TinyModel.WriteClip(folder.At("clip"));
        SafetensorsFile.Write(folder.At("head.safetensors"),
            new Dictionary<string, Tensor> { ["weight"] = Tensor.Of([1f, -2, 3, -4, 5, -6, 7, -8], 1, 8), ["bias"] = Tensor.Of([5f], 1) });
        options = change?.Invoke(options) ?? options;
        options = options with { Reward = $"clip-score:{clip}+aesthetic:{folder.At("head.safetensors")}#clip={clip}" };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, 1e-4);
        Assert.True(summary.Kl > 0, "the adapters have not moved");
        var norm = JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics)[0].GradientNorm;
        Assert.True(norm > 0 && double.IsFinite(norm.Value));
        // What was learned fits the model again, by its module paths.
        using var policy = Policy.WithAdapter(ImageModel.Open(model),
            AdapterFile.Open(Path.Combine(new RunFolder(options.Output).Adapter, "adapter.safetensors")));
        Assert.All(policy.Adapters.Names, n => Assert.Contains(".to_", n));
    }
}
