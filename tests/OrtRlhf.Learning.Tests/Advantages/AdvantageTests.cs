using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;

namespace OrtRlhf.Learning.Tests.Advantages;

public sealed class AdvantageTests
{
    [Fact]
    public void PerBatch_Rewards_AreStandardised()
    {
        var a = Advantage.PerBatch([1, 2, 3, 6], "r");
        var deviation = Math.Sqrt((4 + 1 + 0 + 9) / 4.0);
        Assert.Equal([-2 / deviation, -1 / deviation, 0, 3 / deviation], a.Select(v => (double)v), new Within(1e-5));
    }

    [Theory]
    [InlineData(0.1f)]
    [InlineData(-3e8f)]
    public void PerBatch_ZeroSpread_CarriesNoSignal(float reward) =>
        Assert.All(Advantage.PerBatch([reward, reward, reward], "r"), v => Assert.Equal(0, v));

    [Fact]
    public void PerBatch_Empty_IsEmpty() => Assert.Empty(Advantage.PerBatch([], "r"));

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.NegativeInfinity)]
    public void PerBatch_NotFinite_ThrowsUserErrorNamingSampleAndReward(float bad)
    {
        var message = Assert.Throws<UserError>(() => Advantage.PerBatch([1, 2, bad], "jpeg-compressibility")).Message;
        Assert.Contains("jpeg-compressibility", message);
        Assert.Contains("sample 2", message);
    }

    [Fact]
    public void PerGroup_Groups_AreComparedWithTheirSiblings()
    {
        // Interleaved groups of very different levels; the third has no spread, the fourth a single member.
        var a = Advantage.PerGroup([0, 100, 2, 104, 5, 5, 9], [7, 3, 7, 3, 1, 1, 2], "r");
        Assert.Equal([-1, -1, 1, 1, 0, 0, 0], a.Select(v => (double)v), new Within(1e-5));
    }

    [Fact]
    public void PerGroup_BatchDeviation_KeepsTheSizeOfDifferences()
    {
        float[] rewards = [0, 2, 0, 20, 4, 4];
        var a = Advantage.PerGroup(rewards, [0, 0, 1, 1, 2, 2], "r", batchDeviation: true);
        Assert.Equal(10, a[3] / a[1], 1e-5);
        Assert.Equal(0, a[4]);
    }

    [Fact]
    public void Clip_Limits()
    {
        float[] a = [-7, -5, 0, 4, 5.5f];
        Advantage.Clip(a, 5);
        Assert.Equal([-5, -5, 0, 4, 5], a);
    }
}

internal sealed class Within(double tolerance) : IEqualityComparer<double>
{
    public bool Equals(double x, double y) => Math.Abs(x - y) <= tolerance;

    public int GetHashCode(double obj) => 0;
}
