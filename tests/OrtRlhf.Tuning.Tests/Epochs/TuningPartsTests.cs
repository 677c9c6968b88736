using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Rewards;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Prompts;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Epochs;

/// <summary>Live sessions are counted for the whole process, so these run alone.</summary>
[CollectionDefinition(nameof(TuningPartsTests), DisableParallelization = true)]
[Collection(nameof(TuningPartsTests))]
public sealed class TuningPartsTests
{
    [Fact]
    public void Load_Fails_BehindThePipeline_LeavesNoSession()
    {
        using var folder = new TempFolder();
        var (model, options) = (ImageModel.Open(TinyRun.Model), TinyRun.Options(folder, "run"));
        using var reward = TinyRun.Environment.Rewards.Parse("brightness");
        TuningParts Load(SamplingOptions sampling) => TuningParts.Load(model, options with { Sampling = sampling }, TinyRun.Environment,
            new PromptPool([["a cat"]], ["a dog"]), reward, null, null);

        var before = GraphSession.Live;
        using (Load(options.Sampling)) Assert.InRange(GraphSession.Live, before + 3, int.MaxValue); // denoiser, decoder, text encoder
        Assert.Equal(before, GraphSession.Live);
        // Known only when the pipeline has its table.
        Assert.Contains("policy gradients need steps with a density",
            Assert.Throws<UserError>(() => Load(options.Sampling with { Eta = 0 })).Message);
        Assert.Equal(before, GraphSession.Live);
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(null)]
    public void Execute_RewardOfAModel_LeavesNoSession(double? eta)
    {
        using var folder = new TempFolder();
        var clip = TinyModel.WriteClip(folder.At("clip"));
        var options = TinyRun.Options(folder, "run") with { Reward = $"2*clip-score:'{clip}' + pick-score:'{clip}'", Epochs = 1 };
        var before = GraphSession.Live;
        if (eta is { } none) Assert.Contains("density",
            TinyRun.Fails(options with { Sampling = options.Sampling with { Eta = none } }).Message);
        else Assert.NotEqual(0, TuningRun.Execute(options, TinyRun.Environment).Reward.Before.Mean);
        Assert.Equal(before, GraphSession.Live);
    }

    [Fact]
    public void ClipRewards_OfOneFolder_ShareASession_UntilTheLastIsDisposed()
    {
        using var folder = new TempFolder();
        var clip = TinyModel.WriteClip(folder.At("clip"));
        var before = GraphSession.Live;
        var (first, second) = (RewardRegistry.Default.Parse($"clip-score:'{clip}'"), RewardRegistry.Default.Parse($"pick-score:'{clip}'"));
        Assert.Equal(before + 1, GraphSession.Live);
        first.Dispose();
        first.Dispose();
        Assert.Equal(before + 1, GraphSession.Live);
        Assert.Single(second.Score([new(new(16, 16), "a cat")]));
        second.Dispose();
        Assert.Equal(before, GraphSession.Live);
    }
}
