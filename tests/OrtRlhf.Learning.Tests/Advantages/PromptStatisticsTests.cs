using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;

namespace OrtRlhf.Learning.Tests.Advantages;

public sealed class PromptStatisticsTests
{
    private static readonly PromptStatisticsOptions Small = new() { BufferSize = 4, MinCount = 3 };

    [Fact]
    public void Update_TooFewRewards_UsesTheBatch()
    {
        var statistics = new PromptStatistics(Small);
        float[] rewards = [1, 2, 6];
        Assert.Equal(Advantage.PerBatch(rewards, "r"), statistics.Update(["a", "a", "b"], rewards, "r"));
    }

    [Fact]
    public void Update_EnoughRewards_UsesThePromptsLatest()
    {
        var statistics = new PromptStatistics(Small);
        statistics.Update(["a", "a", "b"], [100, 1, 50], "r");
        // The buffer of a holds 1, 2, 3, 6 now: 100 has left it.
        var a = statistics.Update(["a", "b", "a", "a"], [2, 70, 3, 6], "r");
        var deviation = Math.Sqrt((4 + 1 + 0 + 9) / 4.0) + 1e-6;
        Assert.Equal(-1 / deviation, a[0], 1e-5);
        Assert.Equal(3 / deviation, a[3], 1e-5);
        // b has two rewards only.
        Assert.Equal(Advantage.PerBatch([2, 70, 3, 6], "r")[1], a[1]);
    }

    [Fact]
    public void Update_PromptWithoutSpread_CarriesNoSignal()
    {
        var a = new PromptStatistics(Small).Update(["a", "a", "a", "b"], [0.1f, 0.1f, 0.1f, 9], "r");
        Assert.Equal([0, 0, 0], a[..3]);
        Assert.NotEqual(0, a[3]);
    }

    [Fact]
    public void Update_NaN_ThrowsAndTakesNothingIn()
    {
        var statistics = new PromptStatistics(Small);
        Assert.Contains("sample 1", Assert.Throws<UserError>(() => statistics.Update(["a", "b"], [1, float.NaN], "r")).Message);
        Assert.Empty(statistics.Snapshot());
    }

    [Fact]
    public void Restore_Snapshot_GoesOnWithTheSameNumbers()
    {
        var statistics = new PromptStatistics(Small);
        statistics.Update(["a", "a", "b"], [100, 1, 50], "r");
        var resumed = new PromptStatistics(Small);
        resumed.Restore(statistics.Snapshot());
        Assert.Equal(statistics.Update(["a", "a"], [2, 3], "r"), resumed.Update(["a", "a"], [2, 3], "r"));
        Assert.Equal(statistics.Snapshot(), resumed.Snapshot());
    }

    [Fact]
    public void Validate_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() => new PromptStatistics(new() { BufferSize = 0, MinCount = 5 })).Message;
        Assert.Contains("buffer size", message);
        Assert.Contains("minimal count", message);
    }
}
