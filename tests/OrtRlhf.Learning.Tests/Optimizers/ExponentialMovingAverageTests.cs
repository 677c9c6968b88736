using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Learning.Tests.Optimizers;

public sealed class ExponentialMovingAverageTests
{
    [Fact]
    public void Update_Decay_FollowsTheFormula()
    {
        var ema = new ExponentialMovingAverage([1, 10], 0.9);
        ema.Update([2, 10]);
        ema.Update([2, 20]);
        Assert.Equal(0.9 * 1.1 + 0.2, ema.Values[0], 1e-6);
        Assert.Equal(11, ema.Values[1], 1e-5);
    }

    [Fact]
    public void Update_WarmUp_FollowsEarlyParametersFaster()
    {
        var ema = new ExponentialMovingAverage([0f], 0.999, warmUp: true);
        ema.Update([1]);
        Assert.Equal(1 - 2 / 11.0, ema.Values[0], 1e-6);
    }

    [Fact]
    public void Restore_Snapshot_GoesOnWithTheSameNumbers()
    {
        var ema = new ExponentialMovingAverage([1, 2], 0.9, warmUp: true);
        ema.Update([3, 4]);
        var resumed = new ExponentialMovingAverage([0, 0], 0.9, warmUp: true);
        resumed.Restore(ema.Snapshot());
        ema.Update([5, 6]);
        resumed.Update([5, 6]);
        Assert.Equal(ema.Values.ToArray(), resumed.Values.ToArray());
    }

    [Fact]
    public void Constructor_DecayOfOne_ThrowsUserError() => Assert.Throws<UserError>(() => new ExponentialMovingAverage([1], 1));
}
