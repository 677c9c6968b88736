using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Benchmarks;

namespace OrtRlhf.Tuning.Tests.Benchmarks;

public class BenchmarkTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Fact]
    public void LogProb_SmallLatent_SeesBothSpeeds()
    {
        var timing = LogProbBenchmark.Run(1024, rounds: 2);

        Assert.Equal(3 * 4 * 1024, timing.WorkingSetBytes);
        Assert.True(timing.GigabytesPerSecond > 0 && timing.ReadGigabytesPerSecond > 0 && timing.ShareOfRead > 0, $"{timing}");
    }

    [Fact]
    public void UNet_EverySetting_ComputesTheSameNumbers()
    {
        using var temp = new TempFolder();
        var folder = WriteCase(temp.Path);
        UNetTiming Run(UNetWork work, bool lowMemory) => UNetBenchmark.Run(folder, work, 2, OneThread with { LowMemory = lowMemory });

        var (forward, forwardLow) = (Run(UNetWork.Forward, false), Run(UNetWork.Forward, true));
        var (train, trainLow) = (Run(UNetWork.ForwardBackward, false), Run(UNetWork.ForwardBackward, true));

        // Ones are expected, which none of the results is: how far off they are tells whether they are the same.
        Assert.All([forward, train], t => Assert.True(t.MedianMs > 0 && t.MinMs <= t.MedianMs && t.PeakMb >= t.AfterLoadMb
            && t.AfterLoadMb > 1 && t.Deviation > 1e-3, $"{t}"));
        Assert.Equal(forward.Deviation!.Value, forwardLow.Deviation!.Value, 1e-4);
        Assert.Equal(train.Deviation!.Value, trainLow.Deviation!.Value, 1e-4);
        Assert.Equal(train.GradientDeviation!.Value, trainLow.GradientDeviation!.Value, 1e-4);
        Assert.True(train.GradientDeviation > 0.5, $"{train}");
        Assert.Null(forward.GradientDeviation);
    }

    [Fact]
    public void UNet_FolderWithoutAdapter_ThrowsForTheFile()
    {
        using var temp = new TempFolder();
        var folder = WriteCase(temp.Path);
        File.Delete(Path.Combine(folder, "lora.safetensors"));

        Assert.Contains("lora.safetensors",
            Assert.Throws<UserError>(() => UNetBenchmark.Run(folder, UNetWork.Forward, 1, OneThread)).Message);
    }

    // A folder as tools/Peers/bench_unet.py writes it, of the tiny model's U-Net.
    private static string WriteCase(string root)
    {
        var folder = Path.Combine(TinyModel.Write(root), "unet");
        var key = 0u;
        Tensor Scaled(double scale, long[] dims)
        {
            var values = new float[dims.Aggregate(1L, (a, b) => a * b)];
            new Philox(1, 0, key++, 0).FillGaussian(values);
            return Tensor.Of([.. values.Select(v => (float)(scale * v))], dims);
        }
        Tensor Draw(params long[] dims) => Scaled(1, dims);
        Tensor Ones(long[] dims) => Tensor.Of([.. Enumerable.Repeat(1f, (int)dims.Aggregate(1L, (a, b) => a * b))], dims);
        var component = ComponentFolder.Open(folder, "unet");
        var graph = UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(component.Config), component.Weights());
        var adapter = InjectLora.Apply(graph, new LoraOptions()).SelectMany(l => new[] { l.A, l.B }).ToDictionary(p => p.Name, p =>
            Scaled(0.2, p.Data!.Dims));
        SafetensorsFile.Write(Path.Combine(folder, "lora.safetensors"), adapter);
        long[] latents = [2, 4, TinyModel.Cells, TinyModel.Cells];
        SafetensorsFile.Write(Path.Combine(folder, "bench.safetensors"),
            adapter.ToDictionary(p => "grad." + p.Key, p => Ones(p.Value.Dims)).Concat(new Dictionary<string, Tensor>
            {
                ["sample"] = Draw(latents),
                ["target"] = Draw(latents),
                ["encoder_hidden_states"] = Draw(2, TinyModel.Tokens, TinyModel.Width),
                ["timestep"] = Tensor.Vector(481),
                ["out_sample"] = Ones(latents),
                ["loss"] = Ones([]),
            }));
        return folder;
    }
}
