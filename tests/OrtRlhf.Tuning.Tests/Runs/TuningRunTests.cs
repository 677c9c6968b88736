using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Prompts;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class TuningRunTests
{
    [Fact]
    public void Execute_Ddpo_LeavesTheWholeFolder()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with { EvaluateEvery = 2 };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        var run = new RunFolder(options.Output);

        Assert.Equal(("ddpo", 7ul, 32L), (summary.Method, summary.Seed, summary.Images));
        Assert.Equal(("2*brightness", 8), (summary.Reward.Name, summary.Reward.After.N));
        Assert.Equal(["brightness", "darkness", "jpeg-compressibility"], summary.Rewards.Keys.Order());
        Assert.Equal(2 * summary.Rewards["brightness"].After.Mean, summary.Reward.After.Mean, 6);
        Assert.Equal(1 - summary.Rewards["brightness"].Before.Mean, summary.Rewards["darkness"].Before.Mean, 6);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, 1e-4);
        Assert.True(summary.Kl > 0 && summary.PeakMemoryBytes > 10_000_000 && summary.Seconds > 0);
        Assert.Equal(summary.Reward, JsonFile.Read<RunSummary>(run.Summary).Reward);

        var lines = JsonLines<EpochMetrics>.Read(run.Metrics);
        Assert.Equal([1, 2, 3, 4], lines.Select(line => line.Epoch));
        Assert.All(lines, line => Assert.True(line is { Loss: not null, ClipFraction: not null, GradientNorm: > 0, LearningRate: > 0 }));
        Assert.Equal([false, true, false, false], lines.Select(line => line.Other!.ContainsKey("evaluation.brightness")));
        Assert.Equal(4, JsonLines<EpochTiming>.Read(run.Timings).Count);
        Assert.Equal(["epoch-000000.png", "epoch-000002.png", "epoch-000004.png"],
            Directory.GetFiles(run.Samples).Select(Path.GetFileName).Order());
        Assert.Single(Directory.GetFiles(run.TensorBoard));
        Assert.Contains("data:image/png", File.ReadAllText(run.Report));
        Assert.Equal("0.01", Between(File.ReadAllText(run.Report), "<dt>learning-rate</dt><dd>", "<"));

        var pool = JsonFile.Read<PromptPool>(run.Prompts);
        Assert.Empty(pool.HeldOut.Intersect(pool.Training.SelectMany(list => list)));
        var (before, after) = (JsonFile.Read<EvaluationResult>(run.EvaluationBefore), JsonFile.Read<EvaluationResult>(run.EvaluationAfter));
        Assert.Equal(before.Images, after.Images);
        Assert.All(before.Images, image => Assert.Contains(image.Prompt, pool.HeldOut));
        Assert.NotEqual(before.Total, after.Total);

        var adapter = OnnxAdapter.Read(Path.Combine(run.Adapter, "adapter.onnx_adapter"));
        var tensors = SafetensorsFile.Open(Path.Combine(run.Adapter, "adapter.safetensors")).Tensors;
        Assert.Equal(adapter.Parameters.Select(p => p.Name).Order(), tensors.Keys.Order());
        Assert.All(adapter.Parameters, p => Assert.StartsWith("unet.", p.Name));
        Assert.All(adapter.Parameters.Where(p => p.Name.EndsWith(".lora_B.weight", StringComparison.Ordinal)), p =>
            Assert.Contains(p.Data.ToFloats(), value => value != 0));
    }

    [Theory]
    [InlineData("ddpo")]
    [InlineData("reinforce")]
    [InlineData("es")]
    public void Execute_SameSeed_SameBytes_OtherSeed_Others(string method)
    {
        using var folder = new TempFolder();
        foreach (var (name, seed) in new[] { ("a", 7ul), ("b", 7ul), ("c", 8ul) }) TuningRun.Execute(TinyRun.Options(folder, name,
            method) with
        { Seed = seed, Epochs = 2 }, TinyRun.Environment);
        Assert.Equal(TinyRun.Result(folder.At("a")), TinyRun.Result(folder.At("b")), (x, y) =>
            x.Metrics == y.Metrics && x.Adapter.SequenceEqual(y.Adapter));
        Assert.NotEqual(TinyRun.Result(folder.At("a")).Metrics, TinyRun.Result(folder.At("c")).Metrics);
    }

    // 5 standard errors: a broken sign, a stale gradient or an optimizer that does nothing cannot pass.
    [Theory]
    [InlineData("ddpo", "brightness")]
    [InlineData("reinforce", "brightness-2*darkness")]
    [InlineData("es", "brightness")]
    [InlineData("d3po", "brightness")]
    public void Execute_Learns(string method, string reward)
    {
        using var folder = new TempFolder();
        var options = (TinyRun.Options(folder, "run", method) with
        {
            Reward = reward,
            Epochs = method == "es" ? 20 : 12,
            Images = 32,
            PromptsPerEpoch = method == "d3po" ? 8 : 2,
            Ema = 0,
            LearningRate = method == "d3po" ? 0.01 : 0.03,
            EvaluationImages = method == "d3po" ? 128 : 32,
        }).With(("Population", 8), ("ClipRange", 0.05), ("Passes", 1), ("Sigma", 0.1));
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.InRange(summary.Reward.WinRate!.Mean, 0.6, 1);
        Assert.InRange(summary.Reward.StandardErrors, 5, double.PositiveInfinity);
    }

    [Fact]
    public void Execute_Es_BuildsNoTrainingGraph_DdpoDoes()
    {
        using var folder = new TempFolder();
        Assert.DoesNotContain(Batches("es"), batch => batch.IsKnown);
        Assert.Contains(Batches("ddpo"), batch => batch.IsKnown);

        // Training graphs have a fixed batch; inference graphs an open one.
        List<Dim> Batches(string method)
        {
            var batches = new List<Dim>();
            var environment = TinyRun.Environment with
            {
                OpenModel = (path, reading) => TinyRun.Environment.OpenModel(path, reading) is var model ? model with
                {
                    Denoiser = batch =>
                    {
                        batches.Add(batch);
                        return model.Denoiser(batch);
                    },
                } : throw new InvalidOperationException(),
            };
            TuningRun.Execute(TinyRun.Options(folder, $"{method}", method) with { Epochs = 1 }, environment);
            return batches;
        }
    }

    [Fact]
    public void Execute_Es_MembersSharePromptsAndNoise()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options<EsOptions>(folder, "run") with { Epochs = 1, Images = 8, Sigma = 1e-9, LearningRate = 1e-9 };
        TuningRun.Execute(options, TinyRun.Environment);
        // Without a perturbation to speak of, members with common random numbers cannot differ.
        Assert.InRange(JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics)[0].Other!["fitnessStddev"], 0, 1e-4);
    }

    [Fact]
    public void Execute_WatchedNames_AreThoseScored()
    {
        using var folder = new TempFolder();
        var summary = TuningRun.Execute(TinyRun.Options(folder, "run") with { Epochs = 1, Watch = ["darkness"] }, TinyRun.Environment);
        Assert.Equal(["brightness", "darkness"], summary.Rewards.Keys.Order());
    }

    private static string Between(string text, string start, string end)
    {
        var from = text.IndexOf(start, StringComparison.Ordinal) + start.Length;
        return text[from..text.IndexOf(end, from, StringComparison.Ordinal)];
    }
}
