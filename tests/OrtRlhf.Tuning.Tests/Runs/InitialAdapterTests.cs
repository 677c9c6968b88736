using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

/// <summary>Runs that go on from an adapter.</summary>
public class InitialAdapterTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Execute_InitAdapter_BeginsWithIt_KeepsItsRanks_Resumes(bool kohya)
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyRun.Model);
        using var policy = RandomPolicy.Create(model, new LoraOptions { Rank = 3, Alpha = 6, Targets = ["attn2.to_k", "conv2"] });
        var file = AdapterFile.Of(policy, folder.At("begin.safetensors"));
        if (kohya) file.WriteKohya();
        else file.Write();
        // A learning rate that moves nothing: what comes out is what went in.
        var options = TinyRun.Options(folder, "still") with
        {
            Epochs = 1,
            InitAdapter = file.Path,
            LearningRate = 1e-30,
            WarmupUpdates = 0,
            WeightDecay = 0,
            Ema = 0
        };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        var shipped = AdapterFile.Open(Path.Combine(new RunFolder(options.Output).Adapter, "adapter.safetensors"));
        foreach (var (given,
            got) in file.Layers.Zip(shipped.Layers.OrderBy(l => file.Layers.ToList().FindIndex(g => g.Module == l.Module))))
        {
            Assert.Equal((given.Module, 3), (got.Module, got.Rank));
            Numbers.Close(given.B.ToFloats(), got.B.ToFloats(), 1e-6);
        }
        Assert.True(summary.Kl > 0, "KL is to the model without adapters");

        var run = TinyRun.Options(folder, "run") with { Epochs = 2, InitAdapter = file.Path };
        TuningRun.Execute(run, TinyRun.Environment);
        TuningRun.Execute(run with { Epochs = 1, Output = folder.At("cut") }, TinyRun.Environment);
        File.Delete(file.Path); // a run keeps a copy
        TuningRun.Resume(folder.At("cut"), TinyRun.Environment, epochs: 2);
        Assert.Equal(TinyRun.Result(run.Output).Adapter, TinyRun.Result(folder.At("cut")).Adapter);
    }

    [Fact]
    public void Execute_AdapterThatDoesNotFit_Throws_NothingIsBegun()
    {
        using var folder = new TempFolder();
        new AdapterFile(folder.At("a.safetensors"), [new AdapterLayer("mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
            Tensor.Of(new float[8], 1, 8), Tensor.Of(new float[16], 16, 1))]).Write();
        Assert.Contains("takes 16 and gives 16, got A",
            TinyRun.Fails(TinyRun.Options(folder, "run") with { InitAdapter = folder.At("a.safetensors") }).Message);
        Assert.Contains("there is no such file",
            TinyRun.Fails(TinyRun.Options(folder, "run") with { InitAdapter = folder.At("none.safetensors") }).Message);
        Assert.False(Directory.Exists(folder.At("run")));
    }
}
