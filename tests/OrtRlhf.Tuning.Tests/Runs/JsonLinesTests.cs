using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class JsonLinesTests
{
    [Fact]
    public void Append_Epoch_IsOneStableLine()
    {
        using var folder = new TempFolder();
        using (var log = Open(folder, 0)) log.Append(Epoch(1));
        Assert.Equal(
            """{"epoch":1,"images":64,"reward":{"mean":0.1,"stddev":0.5,"min":-1,"max":1,"n":64},"rewards":{"z":1,"a":2},"loss":1E-07,"ratioFirstMaxDeviation":"NaN","other":{"a+b":3}}""" + "\n",
            File.ReadAllText(folder.At("metrics.jsonl")).Replace("1e-07", "1E-07"));
    }

    [Fact]
    public void Read_OfAppended_IsTheSame()
    {
        using var folder = new TempFolder();
        using (var log = Open(folder, 0)) log.Append(Epoch(1));
        var read = Assert.Single(JsonLines<EpochMetrics>.Read(folder.At("metrics.jsonl")));
        Assert.Equal((1, 64L, Epoch(1).Reward, 1e-7, null), (read.Epoch, read.Images, read.Reward, read.Loss!.Value, read.Kl));
        Assert.True(double.IsNaN(read.RatioFirstMaxDeviation!.Value));
        Assert.Equal(["z", "a"], read.Rewards.Keys);
    }

    [Fact]
    public void Open_AfterEpoch_CutsLaterAndBrokenLines_AndEndsTheSame()
    {
        using var folder = new TempFolder();
        var path = folder.At("metrics.jsonl");
        using (var log = Open(folder, 0)) for (var epoch = 1; epoch <= 5; epoch++) log.Append(Epoch(epoch));
        var whole = File.ReadAllBytes(path);
        foreach (var cut in new[] { 0, 1, 7, 100 })
        {
            File.WriteAllBytes(path, whole[..^cut]);
            using (var log = Open(folder, 3)) for (var epoch = 4; epoch <= 5; epoch++) log.Append(Epoch(epoch));
            Assert.Equal(whole, File.ReadAllBytes(path));
        }
    }

    [Fact]
    public void Open_AtZero_BeginsAnew()
    {
        using var folder = new TempFolder();
        using (var log = Open(folder, 0)) log.Append(Epoch(1));
        using (Open(folder, 0)) { }
        Assert.Equal(0, new FileInfo(folder.At("metrics.jsonl")).Length);
    }

    [Fact]
    public void Open_LinesMissing_ThrowsForUser()
    {
        using var folder = new TempFolder();
        using (var log = Open(folder, 0)) log.Append(Epoch(1));
        Assert.Contains("up to 2, the checkpoint's, got 1", Assert.Throws<UserError>(() => Open(folder, 2)).Message);
    }

    [Fact]
    public void Read_NotJson_ThrowsForUserWithLine()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("metrics.jsonl"), "{\"epoch\":\n");
        Assert.Contains("metrics.jsonl, line 1: ",
            Assert.Throws<UserError>(() => JsonLines<EpochMetrics>.Read(folder.At("metrics.jsonl"))).Message);
    }

    internal static EpochMetrics Epoch(int epoch) => new()
    {
        Epoch = epoch,
        Images = 64 * epoch,
        Reward = new RewardSpread(0.1, 0.5, -1, 1, 64),
        Rewards = new Dictionary<string, double> { ["z"] = 1, ["a"] = 2 },
        Loss = 1e-7,
        RatioFirstMaxDeviation = double.NaN,
        Other = new Dictionary<string, double> { ["a+b"] = 3 },
    };

    private static JsonLines<EpochMetrics> Open(TempFolder folder, int afterEpoch) =>
        JsonLines<EpochMetrics>.Open(folder.At("metrics.jsonl"), afterEpoch, metrics => metrics.Epoch);
}
