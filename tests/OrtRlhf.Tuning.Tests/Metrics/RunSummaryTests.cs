using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Tests.Metrics;

public sealed class RunSummaryTests
{
    [Fact]
    public void Write_IsTheDocumentedJson()
    {
        using var folder = new TempFolder();
        var path = folder.At("summary.json");
        var (before, after) = (new MeanEstimate(-1.1, 0.02, 256), new MeanEstimate(-0.7, 0.02, 256));
        JsonFile.Write(path, new RunSummary
        {
            Model = "models/shapes",
            Method = "ddpo",
            Seed = 7,
            Images = 2560,
            Seconds = 201.4,
            Reward = new RewardSummary("jpeg-compressibility+2*prompt-alignment", before, after),
            Rewards = new Dictionary<string, BeforeAfter> { ["jpeg-compressibility"] = new(before, after) },
            Ratio = new RatioSummary(3e-6),
            Kl = 0.8,
            PeakMemoryBytes = 912345678,
        });
        var expected = JsonNode.Parse("""
            { "model": "models/shapes", "method": "ddpo", "seed": 7, "images": 2560, "seconds": 201.4,
              "reward": { "name": "jpeg-compressibility+2*prompt-alignment", "before": { "mean": -1.1, "stderr": 0.02, "n": 256 },
                          "after": { "mean": -0.7, "stderr": 0.02, "n": 256 } },
              "rewards": { "jpeg-compressibility": { "before": { "mean": -1.1, "stderr": 0.02, "n": 256 }, "after": { "mean": -0.7, "stderr": 0.02, "n": 256 } } },
              "ratio": { "firstMaxDeviation": 3e-6 }, "kl": 0.8, "peakMemoryBytes": 912345678 }
            """);
        Assert.True(JsonNode.DeepEquals(expected, JsonNode.Parse(File.ReadAllText(path))), File.ReadAllText(path));
        Assert.Contains("jpeg-compressibility+2*prompt-alignment", File.ReadAllText(path)); // a plain plus, for people
        var read = JsonFile.Read<RunSummary>(path);
        Assert.Equal((before, after, 3e-6),
            (read.Reward.Before, read.Rewards["jpeg-compressibility"].After, read.Ratio!.FirstMaxDeviation));
    }

    [Fact]
    public void Read_Truncated_ThrowsForUser()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("summary.json"), "{ \"model\": ");
        Assert.Contains("summary.json: not the JSON expected",
            Assert.Throws<UserError>(() => JsonFile.Read<RunSummary>(folder.At("summary.json"))).Message);
        Assert.Contains("none.json", Assert.Throws<UserError>(() => JsonFile.Read<RunSummary>(folder.At("none.json"))).Message);
    }

    [Fact]
    public void MeanEstimate_Of_SpecialValues()
    {
        var estimate = MeanEstimate.Of([1, 2, 3]);
        Assert.Equal((2, 3), (estimate.Mean, estimate.N));
        Assert.Equal(1 / Math.Sqrt(3), estimate.Stderr, 12);
        Assert.Equal(new MeanEstimate(5, 0, 1), MeanEstimate.Of([5]));
        Assert.Throws<ArgumentException>(() => MeanEstimate.Of([]));
        var spread = RewardSpread.Of([3, 2, 1]);
        Assert.Equal((2, 1, 3, 3), (spread.Mean, spread.Min, spread.Max, spread.N));
        Assert.Equal(1, spread.Stddev, 12);
    }

    [Fact]
    public void StandardErrors_PairedWhereScoresAre()
    {
        Assert.Equal(2, new BeforeAfter(new(1, 3, 9), new(11, 4, 9)).StandardErrors, 12);
        Assert.Equal(0, new BeforeAfter(new(1, 0, 9), new(1, 0, 9)).StandardErrors);
        Assert.Equal(double.NegativeInfinity, new BeforeAfter(new(1, 0, 9), new(0, 0, 9)).StandardErrors);
        // Differences 1, 2, 3 with a standard error of 1/sqrt(3), however far apart the images are.
        var change = BeforeAfter.Of([0, 100, -100], [1, 102, -97]);
        Assert.Equal(2 * Math.Sqrt(3), change.StandardErrors, 1e-5);
        Assert.Equal((2, 3), (change.Change!.Mean, change.Change.N));
        Assert.Equal(double.PositiveInfinity, BeforeAfter.Of([0, 1], [1, 2]).StandardErrors);
    }
}
