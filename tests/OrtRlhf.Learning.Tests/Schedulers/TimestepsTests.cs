using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class TimestepsTests
{
    [Theory]
    [InlineData(TimestepSpacing.Leading, 0, 4, new long[] { 750, 500, 250, 0 })]
    [InlineData(TimestepSpacing.Leading, 1, 3, new long[] { 667, 334, 1 })]
    [InlineData(TimestepSpacing.Trailing, 0, 4, new long[] { 999, 749, 499, 249 })]
    [InlineData(TimestepSpacing.Trailing, 0, 3, new long[] { 999, 666, 332 })]
    [InlineData(TimestepSpacing.Linspace, 0, 4, new long[] { 999, 666, 333, 0 })]
    [InlineData(TimestepSpacing.Linspace, 0, 3, new long[] { 999, 500, 0 })]
    [InlineData(TimestepSpacing.Linspace, 0, 1, new long[] { 0 })]
    public void Of_Spacing_AsDiffusers(TimestepSpacing spacing, int offset, int count, long[] expected) =>
        Assert.Equal(expected, Timesteps.Of(new SchedulerConfig { Spacing = spacing, StepsOffset = offset }, count));

    [Fact]
    public void Of_AnyCount_FallsAndStaysInRange()
    {
        foreach (var spacing in Enum.GetValues<TimestepSpacing>())
            for (var count = 1; count <= 1000; count += 7)
            {
                var timesteps = Timesteps.Of(new SchedulerConfig { Spacing = spacing }, count);
                Assert.Equal(count, timesteps.Length);
                Assert.InRange(timesteps[0], 0, 999);
                for (var i = 1; i < count; i++)
                    Assert.True(timesteps[i] < timesteps[i - 1]);
                Assert.True(timesteps[^1] >= 0);
            }
    }

    [Fact]
    public void Of_OffsetBeyondTheEnd_ThrowsUserError() =>
        Assert.Contains("steps_offset",
            Assert.Throws<UserError>(() => Timesteps.Of(new SchedulerConfig { StepsOffset = 1 }, 1000)).Message);
}
