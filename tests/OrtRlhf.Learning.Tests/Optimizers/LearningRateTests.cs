using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Learning.Tests.Optimizers;

public sealed class LearningRateTests
{
    [Theory]
    [InlineData(LearningRateDecay.Constant, new[] { 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(LearningRateDecay.Linear, new[] { 0.25, 0.5, 0.75, 1, 1, 0.775, 0.55, 0.325, 0.1, 0.1 })]
    [InlineData(LearningRateDecay.Cosine, new[] { 0.25, 0.5, 0.75, 1, 1, 0.8681980515, 0.55, 0.2318019485, 0.1, 0.1 })]
    public void At_Steps_FollowTheCurve(LearningRateDecay decay, double[] expected)
    {
        var rate = new LearningRate { Peak = 1, WarmupSteps = 4, TotalSteps = 8, Decay = decay, FinalFraction = 0.1 };
        rate.Validate();
        for (var k = 0; k < expected.Length; k++)
            Assert.Equal(expected[k], rate.At(k), 1e-9);
    }

    [Fact]
    public void At_Defaults_IsConstant() => Assert.Equal((3e-4, 3e-4), (new LearningRate().At(0), new LearningRate().At(100_000)));

    [Fact]
    public void Validate_DecayWithoutEnd_ThrowsUserError() =>
        Assert.Contains("total steps",
            Assert.Throws<UserError>(() => new LearningRate { Decay = LearningRateDecay.Cosine }.Validate()).Message);
}
