using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

/// <summary>Raters in place of people, and what runs from preferences report.</summary>
public sealed class PreferenceRunTests
{
    [Fact]
    public void Rate_BestWorst_TopBottom_TiesAreNoPreference()
    {
        float[] scores = [1, 4, 2, 3, 5, 5, 5, 5];
        Assert.Equal([new RatedPair(1, 0)], SyntheticRater.Rate(scores, 4, RaterRule.BestWorst));
        Assert.Equal([new RatedPair(1, 0), new(3, 2)], SyntheticRater.Rate(scores, 4, RaterRule.TopBottom));
        Assert.Equal([new RatedPair(1, 0), new(3, 2)], SyntheticRater.Rate(scores, 2, RaterRule.TopBottom));
        // the one in the middle has no opposite
        Assert.Equal([new RatedPair(1, 0)], SyntheticRater.Rate([1, 3, 2], 3, RaterRule.TopBottom));
    }

    [Fact]
    public void Rate_Votes_TakeNoNoticeOfScales()
    {
        var reward = new WeightedReward([new(2, Expert("quality")), new(-1, Expert("cost"))]);
        var scores = new RewardScores([-100, 48, 2], new Dictionary<string, float[]> { ["quality"] = [3, 2, 1], ["cost"] = [106, -44, 0] });
        Assert.Equal([new RatedPair(1, 0)], SyntheticRater.Rate(reward, scores, 3, RaterRule.BestWorst, ExpertRule.Sum));
        // quality ranks 1, 1/2, 0 with weight 2; cost 1, 0, 1/2 with weight -1: (1, 1, -1/2)/3.
        var votes = SyntheticRater.Votes(reward, scores, 3);
        Assert.All(votes.Zip([1 / 3f, 1 / 3f, -1 / 6f]), v => Assert.Equal(v.Second, v.First, 1e-6f));
        var pair = Assert.Single(SyntheticRater.Rate(reward, scores, 3, RaterRule.BestWorst, ExpertRule.Vote));
        Assert.Equal((0, 2), (pair.Preferred, pair.Rejected));
        Assert.Equal(0.5f, pair.Weight, 1e-6f);
    }

    [Fact]
    public void Execute_D3po_ReportsWhatItChose_AndStartsWithRatioOne()
    {
        using var folder = new TempFolder();
        var run = new RunFolder(folder.At("run"));
        TuningRun.Execute(TinyRun.Options<D3poOptions>(folder, "run") with { Epochs = 2, Rater = RaterRule.TopBottom, Images = 16 },
            TinyRun.Environment);
        var lines = JsonLines<EpochMetrics>.Read(run.Metrics);
        Assert.All(lines, line =>
        {
            Assert.Equal(8, line.Other!["choices"]); // four prompts, two pairs each
            Assert.InRange(line.Other["implicitAccuracy"], 0, 1);
            Assert.InRange(line.RatioFirstMaxDeviation!.Value, 0, 1e-4);
            Assert.InRange(line.Loss!.Value, 0.5, 0.8);
            Assert.NotNull(line.Kl);
        });
        Assert.Contains("of them against the base", File.ReadAllText(run.Report));
    }

    // A random network draws what it was never trained to denoise: its pictures need not follow. That gradients are right is for the step's
    // own tests to say.
    [Theory]
    [InlineData("dpo", true)]
    [InlineData("kto", false)]
    [InlineData("rwr", false)]
    public void Execute_FromImagesAlone_TrainsOnAllOfThem(string method, bool paired)
    {
        using var folder = new TempFolder();
        using (var store = Labelled(folder.At("store")))
        {
            foreach (var candidate in store.Candidates()) File.Delete(store.Folder.At(candidate.Trajectory!));
        }
        var options = TinyRun.Options(folder, "run", method) with { Epochs = 2 };
        options = options.With(("Preferences", folder.At("store")), ("Passes", 2), ("Beta", 100.0));
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        var lines = JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics);
        Assert.All(lines, line =>
        {
            Assert.Equal(6, line.Other!["choices"]);
            Assert.Equal(paired, line.Other.ContainsKey("implicitAccuracy"));
            Assert.InRange(line.GradientNorm!.Value, 1e-9, 1e9);
        });
        Assert.InRange(summary.Reward.WinRate!.Mean, 0, 1);
        Assert.Equal(2 * 12, summary.Images);
    }

    [Fact]
    public void Execute_D3po_FromAStore_TakesItsTrajectories_OtherSamplersAreRefused()
    {
        using var folder = new TempFolder();
        using var store = Labelled(folder.At("store"));
        var options = TinyRun.Options<D3poOptions>(folder, "run") with
        {
            Preferences = folder.At("store"),
            Epochs = 6,
            LearningRate = 0.03
        };
        TuningRun.Execute(options, TinyRun.Environment);
        var lines = JsonLines<EpochMetrics>.Read(new RunFolder(options.Output).Metrics);
        Assert.All(lines, line => Assert.Equal((6, null), (line.Other!["choices"], line.RatioFirstMaxDeviation)));
        Assert.InRange(lines[^1].Other!["implicitAccuracy"], 0.8, 1);
        // What the run began with is kept: later choices do not change a resumed run.
        var before = TinyRun.Result(options.Output);
        store.Add([.. store.Choices().Select(c => c with { Id = c.Id + "x", Ranks = [.. c.Ranks.Select(r => 1 - r)], Weight = 5 })]);
        File.Delete(new RunFolder(options.Output).Summary);
        TuningRun.Resume(options.Output, TinyRun.Environment);
        Assert.Equal(before, TinyRun.Result(options.Output), (x, y) => x.Metrics == y.Metrics && x.Adapter.SequenceEqual(y.Adapter));

        var other = TinyRun.Fails(options with { Output = folder.At("other"), Sampling = options.Sampling with { GuidanceScale = 3 } });
        Assert.Contains("was drawn by", other.Message);
        Assert.Contains("`GuidanceScale`", other.Message);
    }

    [Fact]
    public void Combine_ExpertsAndRaters_GiveOnePreference()
    {
        var time = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
        Choice By(string rater, string? aspect, double weight, params int[] ranks) =>
            new($"{rater}{aspect}", "p", ["a", "b", "c"], ranks, rater, ChoiceMode.Rank, time, null, weight, aspect);
        Choice[] choices = [By("ann", "quality", 1, 0, 1, 2), By("ann", "taste", 2, 1, 0, 0), By("bob", null, 1, 0, 0, 1),
            By("eve", null, 1)];
        // a over b: 1 - 2; a over c: 1 - 2 + 1; b over c: 1 + 1.
        Assert.Equal([new("b", "a", 1), new("b", "c", 2)], PreferenceSelection.Combine(choices));
        Assert.Equal([new("a", "b", 0.5), new("a", "c", 0.5), new("b", "c", 1)],
            PreferenceSelection.Combine(choices, new Dictionary<string, double> { ["taste"] = 0.25, ["bob"] = 0 }));
    }

    // Twelve pictures of the tiny model with their trajectories, two a prompt, the brighter one preferred.
    private static IPreferenceStore Labelled(string folder)
    {
        var store = PreferenceStore.Open(folder, create: true);
        using var policy = Policy.OfBase(ImageModel.Open(TinyRun.Model));
        using var pipeline = new Pipeline(policy, TinyRun.Sampling with { ClipSample = false }, new() { Threads = 1 });
        var drawn = pipeline.Sample([.. Enumerable.Range(0, 12).Select(i => new SampleRequest($"a {"abcdef"[i / 2]}", 5, 1, (uint)i))]);
        var reward = TinyRun.Environment.Rewards.Parse("brightness");
        var scores = reward.Score([.. drawn.Select((d, i) => new RewardInput(d.Image, d.Prompt, i))]);
        var candidates = drawn.Select(d => store.Folder.Write(d, pipeline)).ToArray();
        store.Add(candidates);
        store.Add([.. candidates.Chunk(2).Select((pair, i) => new Choice(
            $"choice{i}", pair[0].Prompt, [pair[0].Id, pair[1].Id], scores[2 * i] > scores[(2 * i) + 1] ? [0, 1] : [1, 0], "ann",
                ChoiceMode.Pair, DateTimeOffset.UtcNow))]);
        return store;
    }

    [Fact]
    public void Execute_OneCandidateAPrompt_SaysSo()
    {
        using var folder = new TempFolder();
        var error = TinyRun.Fails(TinyRun.Options<DpoOptions>(folder, "run") with { PromptsPerEpoch = 8 });
        Assert.Contains("`PromptsPerEpoch`: expected at most half of the 8 images", error.Message);
    }

    [Fact]
    public void WinRate_CountsTiesHalf()
    {
        var wins = BeforeAfter.Of([1, 2, 3, 4], [2, 2, 2, 5]).WinRate!;
        Assert.Equal((0.625, 4), (wins.Mean, wins.N));
        Assert.Equal(Math.Sqrt((0.375 * 0.375 * 2 + 0.125 * 0.125 + 0.625 * 0.625) / 3 / 4), wins.Stderr, 1e-7);
    }

    private static PerImageReward Expert(string name) => new(name, _ => 0);
}
