using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Tests;

public class PackTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void EveryFormat_OfARun_CanBeReadBack_AndTunedOn()
    {
        using var folder = new TempFolder();
        Cli.Run(TinyTune.Arguments(model.Path, folder, "run", epochs: 1)).Succeeds();
        foreach (var format in (string[])["diffusers", "kohya", "onnx_adapter", "merged"]) Cli.Run("pack", folder.At("run"), "--format",
            format).Succeeds();
        string At(string name) => folder.At("run", "packed", name);
        var shipped = AdapterFile.Open(Path.Combine(new RunFolder(folder.At("run")).Adapter, "adapter.safetensors"));
        foreach (var name in (string[])["adapter.safetensors", "adapter.onnx_adapter"])
            Assert.Equal(shipped.Layers.Select(l => l.Module).Order(StringComparer.Ordinal),
                AdapterFile.Open(At(name)).Layers.Select(l => l.Module).Order(StringComparer.Ordinal));
        Assert.True(AdapterFile.Open(At("adapter-kohya.safetensors")).HasKohyaNames);
        Assert.Equal("model", ImageModel.Open(At("model")).Name);
        Cli.Run("pack", At("adapter-kohya.safetensors"), "--format", "onnx_adapter", "--output", At("again.onnx_adapter"))
            .FailsWith(2, "--model", "kohya's names");
        Cli.Run("pack", At("adapter-kohya.safetensors"), "--format", "onnx_adapter", "--output", At("again.onnx_adapter"), "--model",
            model.Path).Succeeds();

        var arguments = TinyTune.Arguments(model.Path, folder, "next", epochs: 1);
        Cli.Run([.. arguments, "--init-adapter", At("adapter-kohya.safetensors")])
            .FailsWith(2, "--init-adapter brings its layers and ranks");
        var rank = Array.IndexOf(arguments, "--lora-rank");
        Cli.Run([.. arguments[..rank], .. arguments[(rank + 2)..], "--init-adapter", At("adapter-kohya.safetensors")]).Succeeds();
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder.At("run"));
        Cli.Run("pack", folder.At("run"), "--format", "kohya").FailsWith(1, "has no adapter yet");
        Cli.Run("pack", folder.At("none"), "--format", "kohya").FailsWith(1, "there is no such file");
        Cli.Run("pack", folder.At("run"), "--format", "gguf")
            .FailsWith(2, "--format: expected diffusers, kohya, onnx_adapter or merged, got 'gguf'");
    }
}
