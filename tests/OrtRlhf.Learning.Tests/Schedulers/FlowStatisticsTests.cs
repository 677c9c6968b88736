using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

/// <summary>
/// That the rows of noisy flow tables are the densities they say, and that their samplers draw from the flow's own distribution.
/// </summary>
public sealed class FlowStatisticsTests
{
    private static readonly FlowSchedule Shifted = new(new() { Shift = 3 });

    public static TheoryData<FlowNoise> Noisy => [FlowNoise.Assumed, FlowNoise.FlowGrpo, FlowNoise.DanceGrpo, FlowNoise.Cps];

    private static float[] Normal(int n, uint sample, uint step)
    {
        var z = new float[n];
        new Philox(2026, 0, sample, step).FillGaussian(z);
        return z;
    }

    // Within five standard errors: 1/sqrt(n) of the mean and sqrt(2/n) of the variance, in units of the step.
    [Theory]
    [MemberData(nameof(Noisy))]
    public void Advance_Samples_HaveTheTablesMeanAndVariance(FlowNoise noise)
    {
        const int n = 100_000;
        const float x = 0.8f, v = -1.3f;
        var table = FlowTable.Build(Shifted, new() { Steps = 6, Noise = noise });
        var (xs, vs, next) = (Enumerable.Repeat(x, n).ToArray(), Enumerable.Repeat(v, n).ToArray(), new float[n]);
        foreach (var i in table.RequireDensity())
        {
            var step = table.Steps[i];
            GaussianLogProb.Advance(xs, vs, Normal(n, 0, (uint)i), step, next);
            var mean = next.Average(value => (double)value);
            var variance = next.Average(value => Math.Pow(value - mean, 2));
            Assert.Equal(0, (mean - (step.CX * x + step.CM * v)) / step.Sigma, 5 / Math.Sqrt(n));
            Assert.Equal(1, variance / (step.Sigma * step.Sigma), 5 * Math.Sqrt(2.0 / n));
        }
    }

    [Theory]
    [MemberData(nameof(Noisy))]
    public void OfStep_OneDimension_IntegratesToOne(FlowNoise noise)
    {
        const float x = 0.8f, v = -1.3f;
        var table = FlowTable.Build(Shifted, new() { Steps = 6, Noise = noise });
        foreach (var i in table.RequireDensity())
        {
            var step = table.Steps[i];
            var (mean, width) = (step.CX * x + step.CM * v, step.Sigma / 50);
            var integral = Enumerable.Range(-400, 801).Sum(k =>
                width * Math.Exp(GaussianLogProb.OfStep([x], [v], [(float)(mean + k * width)], step)));
            Assert.Equal(1, integral, 1e-4);
        }
    }

    // Every equation with noise has the flow's marginals: their samplers, with many steps, end in the data's distribution and pass the same
    // ones halfway.
    // Coefficient-preserving steps draw part of the noise anew in each step however small it is, so that they have them in the limit of a
    // small level only.
    [Theory]
    [InlineData(FlowNoise.None, null)]
    [InlineData(FlowNoise.FlowGrpo, 0.7)]
    [InlineData(FlowNoise.DanceGrpo, 0.3)]
    [InlineData(FlowNoise.DanceGrpo, 0.8)]
    [InlineData(FlowNoise.Cps, 0.1)]
    public void Marginals_GaussianMixture_AreTheFlows(FlowNoise noise, double? level)
    {
        var table = FlowTable.Build(Shifted, new() { Steps = 200, Noise = noise, Level = level });
        var sampled = Mixture.Sample(table, stops: [0.5, 0]);
        Assert.All(sampled, at => Mixture.RequireMoments(at.Points, at.Time, 0.04));
    }

    // The test above can fail: noise that nothing compensates spreads the samples by about its own variance.
    [Fact]
    public void Marginals_AssumedVariance_AreWider()
    {
        var table = FlowTable.Build(Shifted, new() { Steps = 200, Noise = FlowNoise.Assumed, Level = 0.6 });
        var (points, time) = Mixture.Sample(table, [0])[0];
        Assert.ThrowsAny<Xunit.Sdk.XunitException>(() => Mixture.RequireMoments(points, time, 0.04));
    }

    /// <summary>
    /// Two round clusters in the plane. Given the cluster, noise and data are jointly normal, so the velocity is known in closed form.
    /// </summary>
    private static class Mixture
    {
        private const int Count = 12_000;
        private static readonly (double Weight, double X, double Y, double Deviation)[] Clusters = [(0.7, 1.2, 0.5, 0.4),
            (0.3, -0.8, -0.9, 0.25)];

        /// <summary>Runs a sampler and keeps the points where a step first lands at or below the given times.</summary>
        public static (float[] Points, double Time)[] Sample(SamplerTable table, double[] stops)
        {
            float[] x = Normal(2 * Count, 1, RandomStep.InitialLatent), v = new float[x.Length];
            var kept = new List<(float[], double)>();
            for (var i = 0; i < table.Steps.Count; i++)
            {
                var step = table.Steps[i];
                Velocity(x, step.Time / 1000, v);
                GaussianLogProb.Advance(x, v, step.HasDensity ? Normal(x.Length, 1, (uint)i) : new float[x.Length], step, x);
                var t = i + 1 < table.Steps.Count ? table.Steps[i + 1].Time / 1000 : 0;
                if (kept.Count < stops.Length && t <= stops[kept.Count]) kept.Add(((float[])x.Clone(), t));
            }
            return [.. kept];
        }

        /// <summary>Mean and covariance of the points against those of x_t: 0.04 is four standard errors of a mean here.</summary>
        public static void RequireMoments(float[] points, double t, double tolerance)
        {
            double[] Moments(IEnumerable<(double Weight, double X, double Y, double Variance)> parts)
            {
                var (mx, my) = (parts.Sum(p => p.Weight * p.X), parts.Sum(p => p.Weight * p.Y));
                return [mx, my, parts.Sum(p => p.Weight * (p.Variance + (p.X - mx) * (p.X - mx))),
                    parts.Sum(p => p.Weight * (p.Variance + (p.Y - my) * (p.Y - my))), parts.Sum(p => p.Weight * (p.X - mx) * (p.Y - my))];
            }
            var expected = Moments(Clusters.Select(c => (c.Weight, (1 - t) * c.X, (1 - t) * c.Y, Variance(c.Deviation, t))));
            var actual = Moments(Enumerable.Range(0, Count).Select(i =>
                (1.0 / Count, (double)points[2 * i], (double)points[2 * i + 1], 0.0)).ToArray());
            Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, tolerance));
        }

        private static double Variance(double deviation, double t) => (1 - t) * (1 - t) * deviation * deviation + t * t;

        // E[noise - x0 | x]: within a cluster, both are linear in the distance from its centre.
        private static void Velocity(float[] x, double t, float[] v)
        {
            for (var i = 0; i < Count; i++)
            {
                var (sum, vx, vy) = (0.0, 0.0, 0.0);
                foreach (var c in Clusters)
                {
                    var variance = Variance(c.Deviation, t);
                    var (dx, dy) = (x[2 * i] - (1 - t) * c.X, x[2 * i + 1] - (1 - t) * c.Y);
                    var weight = c.Weight / variance * Math.Exp(-(dx * dx + dy * dy) / (2 * variance));
                    var slope = (t - (1 - t) * c.Deviation * c.Deviation) / variance;
                    (sum, vx, vy) = (sum + weight, vx + weight * (slope * dx - c.X), vy + weight * (slope * dy - c.Y));
                }
                (v[2 * i], v[2 * i + 1]) = ((float)(vx / sum), (float)(vy / sum));
            }
        }
    }
}
