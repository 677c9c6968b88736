using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Tuning.Images;
using OrtRlhf.Tuning.Preferences;
using OrtRlhf.Tuning.Rewards;
using OrtRlhf.Tuning.Rewards.Training;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Rewards;

/// <summary>Reward models on a tiny CLIP of random weights, whose features tell bright images from dark ones all the same.</summary>
public sealed class RewardTrainingTests
{
    [Fact]
    public void Run_PredictsHeldOutChoices_AndItsFileScoresLikeIt()
    {
        using var folder = new TempFolder();
        var judged = Judged(150);
        var summary = RewardTraining.Run(judged, new() { Clip = TinyModel.WriteClip(folder.At("clip")), Session = new() { Threads = 1 } }, folder.At("reward"));
        Assert.Equal((120, 30), (summary.Trained, summary.Accuracy.N));
        Assert.InRange(summary.Accuracy.Mean, 0.8, 1);
        Assert.InRange(summary.Calibration.Error, 0, 0.25);
        Assert.Equal(30, summary.Calibration.Bins.Sum(bin => bin.N));
        Assert.Equal(summary.Accuracy, JsonFile.Read<RewardModelSummary>(folder.At("reward", "reward.json")).Accuracy);

        var reward = RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}");
        var scores = reward.Score(judged.Candidates);
        Assert.InRange(judged.Pairs.Average(p => scores[p.Preferred] > scores[p.Rejected] ? 1.0 : 0), 0.8, 1);
        Assert.Equal(0, scores.Average(), 1e-2); // standardised features have the mean 0
        Assert.NotEqual(scores[0], reward.Score([judged.Candidates[0] with { Prompt = "zzz" }])[0]); // the prompt takes part
    }

    [Fact]
    public void Run_WithoutPrompts_TakesImagesAlone()
    {
        using var folder = new TempFolder();
        var judged = Judged(40);
        judged = judged with { Candidates = [.. judged.Candidates.Select(c => c with { Prompt = "" })] };
        RewardTraining.Run(judged, new() { Clip = TinyModel.WriteClip(folder.At("clip")), Ridge = 0.1 }, folder.At("reward"));
        Assert.Equal(80, RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}").Score(judged.Candidates).Length);
    }

    [Fact]
    public void Run_TooFewChoices_SaysHowMany()
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<UserError>(() => RewardTraining.Run(Judged(4), new() { Clip = "none" }, folder.At("reward")));
        Assert.Contains("expected at least 10 choices, got 4", error.Message);
    }

    // The brighter of two noisy images of a prompt is preferred.
    private static JudgedImages Judged(int pairs)
    {
        var candidates = Enumerable.Range(0, 2 * pairs).Select(i =>
        {
            var numbers = new float[16 * 16 * 3 + 1];
            new Philox(1, 0, (uint)i, 0).FillUniform(numbers);
            return new RewardInput(new RgbImage(16, 16, [.. numbers.Skip(1).Select(x => (byte)((90 * x) + (160 * numbers[0])))]), $"prompt {(char)('a' + (i / 2 % 26))}{(char)('a' + (i / 52))}", i);
        }).ToArray();
        return new(candidates, [.. Enumerable.Range(0, pairs).Select(k => Sum(2 * k) > Sum((2 * k) + 1) ? new RatedPair(2 * k, (2 * k) + 1) : new((2 * k) + 1, 2 * k))]);

        long Sum(int i) => candidates[i].Image.Pixels.ToArray().Sum(x => (long)x);
    }
}
