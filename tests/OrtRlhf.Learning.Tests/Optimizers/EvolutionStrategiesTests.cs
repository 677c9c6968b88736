using OrtRlhf.Graph;
using OrtRlhf.Learning.Optimizers;

namespace OrtRlhf.Learning.Tests.Optimizers;

public sealed class EvolutionStrategiesTests
{
    private static readonly float[] Theta = [.. Enumerable.Range(0, 9001).Select(i => MathF.Sin(i))];

    [Fact]
    public void Perturb_Pair_MirrorsAroundTheta()
    {
        var es = new EvolutionStrategies(new() { Population = 4, Sigma = 0.1 }, 7);
        float[] plus = new float[9001], minus = new float[9001], other = new float[9001], later = new float[9001];
        es.Perturb(Theta, 3, 2, plus);
        es.Perturb(Theta, 3, 3, minus);
        es.Perturb(Theta, 3, 0, other);
        es.Perturb(Theta, 4, 2, later);
        var noise = plus.Zip(Theta, (p, t) => (p - t) / 0.1).ToArray();
        for (var i = 0; i < Theta.Length; i++)
            Assert.Equal(2 * Theta[i], plus[i] + minus[i], 1e-6);
        Assert.Equal(1, noise.Average(n => n * n), 0.08);
        Assert.Equal(0, noise.Zip(other.Zip(Theta, (p, t) => (p - t) / 0.1), (a, b) => a * b).Average(), 0.06);
        Assert.Equal(0, noise.Zip(later.Zip(Theta, (p, t) => (p - t) / 0.1), (a, b) => a * b).Average(), 0.06);
    }

    [Fact]
    public void EstimateGradient_Members_AreTheFormula()
    {
        var es = new EvolutionStrategies(new() { Population = 4, Sigma = 0.1 }, 7);
        float[] rewards = [3, 1, 7, 9];
        double[] u = [-1 / 6.0, -0.5, 1 / 6.0, 0.5];
        var expected = new double[Theta.Length];
        for (var k = 0; k < 4; k++)
        {
            var member = new float[Theta.Length];
            es.Perturb(new float[Theta.Length], 5, k, member);
            for (var i = 0; i < member.Length; i++)
                expected[i] -= u[k] * member[i] / (4 * 0.1 * 0.1);
        }
        var gradient = new float[Theta.Length];
        es.EstimateGradient(rewards, 5, gradient);
        Close.To([.. expected.Select(e => (float)e)], gradient, 1e-5);
    }

    [Fact]
    public void CentredRanks_Ties_ShareTheirMean()
    {
        Assert.Equal([0.5, -0.5, 0, 0, 0], EvolutionStrategies.CentredRanks([9, -1, 4, 4, 4]), new Advantages.Within(1e-12));
        Assert.All(EvolutionStrategies.CentredRanks([4, 4, 4, 4]), u => Assert.Equal(0, u));
        Assert.Throws<UserError>(() => EvolutionStrategies.CentredRanks([1, float.NaN]));
    }

    [Fact]
    public void EstimateGradient_Quadratic_IsDescended()
    {
        var target = new float[] { 1, -2, 0.5f, 3 };
        var theta = new float[4];
        var options = new EvolutionStrategiesOptions { Population = 16, Sigma = 0.1, LearningRate = 0.05 };
        var es = new EvolutionStrategies(options, 1);
        var adam = new AdamW(4, new() { WeightDecay = 0 });
        float[] member = new float[4], gradient = new float[4], rewards = new float[16];
        double Distance(float[] t) => t.Zip(target, (a, b) => Math.Pow(a - b, 2)).Sum();
        for (uint epoch = 0; epoch < 150; epoch++)
        {
            for (var k = 0; k < 16; k++)
            {
                es.Perturb(theta, epoch, k, member);
                rewards[k] = (float)-Distance(member);
            }
            es.EstimateGradient(rewards, epoch, gradient);
            adam.Step(theta, gradient, options.LearningRate);
        }
        Assert.True(Distance(theta) < 0.05, $"distance {Distance(theta)}");
    }

    [Theory]
    [InlineData(3, 0.1)]
    [InlineData(0, 0.1)]
    [InlineData(4, 0.0)]
    public void Constructor_Faults_ThrowsUserError(int population, double sigma) =>
        Assert.Throws<UserError>(() => new EvolutionStrategies(new() { Population = population, Sigma = sigma }, 1));
}
