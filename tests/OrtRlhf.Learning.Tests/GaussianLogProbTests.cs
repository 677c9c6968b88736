using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests;

public sealed class GaussianLogProbTests
{
    private static readonly GaussianStep Step = new(500, 1.07, -0.31, 0.42);

    private static float[] Normal(int n, uint sample)
    {
        var z = new float[n];
        new Philox(11, 0, sample, 0).FillGaussian(z);
        return z;
    }

    private static double Plain(float[] x, float[] m, float[] next, GaussianStep step)
    {
        var sum = 0.0;
        for (var i = 0; i < x.Length; i++)
        {
            var mu = step.CX * x[i] + step.CM * m[i];
            sum += -(next[i] - mu) * (next[i] - mu) / (2 * step.Sigma * step.Sigma) - Math.Log(step.Sigma)
                - Math.Log(Math.Sqrt(2 * Math.PI));
        }
        return sum / x.Length;
    }

    public static TheoryData<int> Lengths => [.. Enumerable.Range(1, 130), 1023, 1024, 1025, 1100, 2048, 4096 + 17, 16_384, 262_147];

    [Theory]
    [MemberData(nameof(Lengths))]
    public void OfStep_AllLengths(int n)
    {
        var (x, m, next) = (Normal(n, 0), Normal(n, 1), Normal(n, 2));
        Assert.Equal(Plain(x, m, next, Step), GaussianLogProb.OfStep(x, m, next, Step), 2e-6);
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public void Advance_AllLengths_MatchesLaterEvaluationToTheLastBit(int n)
    {
        var (x, m, z, next) = (Normal(n, 0), Normal(n, 1), Normal(n, 2), new float[n]);
        var logp = GaussianLogProb.Advance(x, m, z, Step, next);
        for (var i = 0; i < n; i++)
            Assert.Equal(Step.CX * x[i] + Step.CM * m[i] + Step.Sigma * z[i], next[i], 1e-6);
        Assert.Equal(BitConverter.DoubleToInt64Bits(GaussianLogProb.OfStep(x, m, next, Step)), BitConverter.DoubleToInt64Bits(logp));
        Assert.Equal(Plain(x, m, next, Step), logp, 2e-6);
        GaussianLogProb.Advance(x, m, z, Step, x);
        Assert.Equal(next, x);
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public void OfMean_AllLengths(int n)
    {
        var (mu, next) = (Normal(n, 0), Normal(n, 1));
        Assert.Equal(Plain(mu, mu, next, new(0, 1, 0, 0.3)), GaussianLogProb.OfMean(mu, next, 0.3), 5e-6);
    }

    [Theory]
    [MemberData(nameof(Lengths))]
    public void Kl_AllLengths(int n)
    {
        var (m, reference) = (Normal(n, 0), Normal(n, 1));
        var expected = m.Zip(reference, (a, b) => Math.Pow(Step.CM * ((double)a - b), 2)).Average() / (2 * Step.Sigma * Step.Sigma);
        Assert.Equal(expected, GaussianLogProb.Kl(m, reference, Step), 1e-6 * expected);
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity)]
    public void OfStep_SpecialValues(float special)
    {
        foreach (var position in new[] { 0, 37, 64, 1029 })
        {
            var (x, m, next) = (Normal(1030, 0), Normal(1030, 1), Normal(1030, 2));
            next[position] = special;
            var logp = GaussianLogProb.OfStep(x, m, next, Step);
            Assert.True(float.IsNaN(special) ? double.IsNaN(logp) : double.IsNegativeInfinity(logp));
            m[position] = float.NaN;
            Assert.True(double.IsNaN(GaussianLogProb.OfStep(x, m, next, Step)));
        }
    }

    [Fact]
    public void Advance_SigmaZero_TakesTheMeanAndHasNoDensity()
    {
        var step = Step with { Sigma = 0 };
        float[] x = [1], next = new float[1];
        Assert.True(double.IsNaN(GaussianLogProb.Advance(x, [2f], [3f], step, next)));
        Assert.Equal(1.07 - 0.62, next[0], 1e-6);
        Assert.Throws<ArgumentException>(() => GaussianLogProb.OfStep(x, [2f], next, step));
        Assert.Throws<ArgumentException>(() => GaussianLogProb.Kl(x, next, step));
    }

    [Fact]
    public void OfStep_DifferentLengths_ThrowsArgumentException()
    {
        Assert.Throws<ArgumentException>(() => GaussianLogProb.OfStep(new float[3], new float[4], new float[3], Step));
        Assert.Throws<ArgumentException>(() => GaussianLogProb.OfStep([], [], [], Step));
    }
}
