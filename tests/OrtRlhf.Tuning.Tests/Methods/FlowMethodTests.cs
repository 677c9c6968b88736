using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Tests.Methods;

/// <summary>Flow-GRPO and DiffusionNFT, on flows and on diffusion models.</summary>
public class FlowMethodTests
{
    [Theory]
    [InlineData("flow-grpo", true)]
    [InlineData("flow-grpo", false)]
    [InlineData("nft", true)]
    [InlineData("nft", false)]
    public void Tune_RaisesTheReward_OnFlowsAndDiffusion(string method, bool flow)
    {
        using var folder = new TempFolder();
        var options = Options(folder, "run", method, flow) with { Epochs = 14, LearningRate = 0.02, EvaluationImages = 32 };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.True(summary.Reward.StandardErrors > 3,
            $"{summary.Reward.Before.Mean} to {summary.Reward.After.Mean}, {summary.Reward.StandardErrors} standard errors");
        Assert.Equal(method == "nft", summary.Ratio is null);
        Assert.True(summary.Kl > 0);
        var lines = JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics);
        Assert.All(lines, line => Assert.Equal(0, line.Other!["zeroSpreadGroups"]));
        Assert.Equal(method == "flow-grpo" ? "flow-grpo" : "nft", summary.Method);
    }

    [Theory]
    [InlineData("flow-grpo")]
    [InlineData("nft")]
    public void Tune_Resumed_GivesTheSameNumbers(string method)
    {
        using var folder = new TempFolder();
        var options = Options(folder, "whole", method, flow: true) with { Epochs = 3 };
        options = options.With(("KlWeight", 0.1), ("NoiseWindow", 2), ("NoiseWindowInterval", 1));
        TuningRun.Execute(options, TinyRun.Environment);
        TuningRun.Execute(options with { Output = folder.At("half"), Epochs = 2 }, TinyRun.Environment);
        TuningRun.Resume(folder.At("half"), TinyRun.Environment, epochs: 3);
        Assert.Equal(TinyRun.Result(options.Output).Metrics, TinyRun.Result(folder.At("half")).Metrics);
        Assert.Equal(TinyRun.Result(options.Output).Adapter, TinyRun.Result(folder.At("half")).Adapter);
    }

    [Fact]
    public void Tune_RewardsAllEqual_SkipsTheGroupsAndSaysSo()
    {
        using var folder = new TempFolder();
        var environment = TinyRun.Environment with { Rewards = TinyRun.Environment.Rewards.With(TinyRun.Reward("nothing", _ => 1)) };
        var options = Options(folder, "run", "flow-grpo", flow: true) with { Epochs = 1, Reward = "nothing" };
        TuningRun.Execute(options, environment);
        var line = JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics).Single();
        Assert.Equal((1.0, null), (line.Other!["zeroSpreadGroups"], line.Loss));
    }

    [Fact]
    public void KlTerm_IsTheDivergenceToTheModelWithoutAdapters()
    {
        using var folder = new TempFolder();
        using var policy = Perturbed(ImageModel.Open(TinyModel.WriteSD3(folder.At("sd3"), t5: false)));
        using var pipeline = new Pipeline(policy, new() { Sampler = SamplerKind.FlowGrpo, Steps = 4, GuidanceScale = 2 },
            new() { Threads = 1 });
        var trajectory = pipeline.Sample([new("a cat", 1, 1, 0)])[0].Trajectory;
        Transition[] transitions = [.. pipeline.Table.StepsWithDensity.Select(s => new Transition(trajectory, s, 0.5f))];
        using var step = new PolicyGradientStep(policy, pipeline.Text, 2, 2, t =>
            FlowGrpo.Loss(t, new() { KlWeight = 0.5 }), new() { Threads = 1 }, withReference: true);
        var (sum, zero) = (new Gradients(policy.Adapters.All.Length), new Gradients(policy.Adapters.All.Length));
        var metrics = step.Accumulate(transitions, sum);
        Assert.InRange(metrics.RatioDeviation, 0, 1e-4);
        // The last micro-batch is filled up with a copy: its KL must not count, so a mean over three must be that over all.
        Assert.Equal(1, metrics.Means["kl"] / pipeline.Kl([trajectory]), 0.02);
        Assert.Equal(-0.5 + (0.5 * pipeline.Kl([trajectory])), metrics.Means["loss"], 1e-3);
        policy.AsBase(() => step.Accumulate([.. transitions.Select(t => t with { Advantage = 0 })], zero));
        Assert.True(Gradients.Norm(zero.Values) < 1e-3 * Gradients.Norm(sum.Values));
    }

    [Fact]
    public void SharedInitialNoise_StartsAGroupAlike()
    {
        using var folder = new TempFolder();
        var options = Options(folder, "run", "flow-grpo", flow: true) with { SharedInitialNoise = true, Epochs = 1 };
        Assert.InRange(TuningRun.Execute(options, TinyRun.Environment).Ratio!.FirstMaxDeviation, 0, 1e-4);
    }

    [Fact]
    public void Faults_AreTold()
    {
        using var folder = new TempFolder();
        var options = Options(folder, "run", "flow-grpo", flow: true);
        Assert.Contains("`Sampler`: expected flow-grpo",
            TinyRun.Fails(options with { Sampling = options.Sampling with { Sampler = SamplerKind.Euler } }).Message);
        Assert.Contains("`PromptsPerEpoch`", TinyRun.Fails(options with { PromptsPerEpoch = 8 }).Message);
        Assert.Contains("`NoiseWindow`", TinyRun.Fails(options.With(("NoiseWindow", 9))).Message);
        Assert.Contains("is no flow",
            TinyRun.Fails(options with { Model = TinyRun.Model, Sampling = options.Sampling with { NoiseLevel = 0.5 } }).Message);
        Assert.Contains("`AdvantageBaseline`",
            TinyRun.Fails(Options(folder, "nft", "nft", flow: true).With(("AdvantageBaseline", AdvantageBaseline.Batch))).Message);
    }

    private static TuningOptions Options(TempFolder folder, string output, string method, bool flow) =>
        (TinyRun.Options(folder, output, method) with
        {
            Model = flow ? Flow.Value : TinyRun.Model,
            PromptsPerEpoch = 2,
            Ema = 0,
            WarmupUpdates = 0,
            Sampling = new() { Steps = 4, GuidanceScale = 1, BatchSize = 8 },
        }).With(("UpdatesPerPass", 2), ("TimestepFraction", 1.0));

    private static readonly Lazy<string> Flow = new(() =>
    {
        var folder = Directory.CreateTempSubdirectory("ortrlhf-flow-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return TinyModel.WriteSD3(folder, t5: false);
    });

    private static Policy Perturbed(ImageModel model)
    {
        var policy = Policy.Create(model, new() { Rank = 2 }, 3);
        foreach (var name in policy.Adapters.Names.Where(name => name.EndsWith("lora_B.weight", StringComparison.Ordinal)))
        {
            new Philox(4, 0, (uint)name.Length, 0).FillGaussian(policy.Adapters[name]);
            foreach (ref var value in policy.Adapters[name]) value *= 0.1f;
        }
        return policy;
    }
}
