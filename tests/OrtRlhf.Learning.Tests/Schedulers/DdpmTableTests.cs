using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class DdpmTableTests
{
    private static readonly GoldenFile Golden = new("ddpm-tiny/golden.safetensors");

    private static SchedulerConfig Config => SchedulerConfigJson.Read(GoldenFile.Locate("ddpm-tiny/scheduler/scheduler_config.json"));

    // Outputs are not stored, but the clamped clean sample is: with sample prediction the table takes it as m.
    [Fact]
    public void Build_FixedSmall_MatchesReference()
    {
        var table = DdpmTable.Build(Config with { Prediction = PredictionType.Sample }, 8);
        Assert.Equal(Golden.Longs("ddpm.timesteps"), table.Steps.Select(s => s.Timestep));
        for (var i = 0; i < 8; i++)
        {
            var x = Golden.Row("ddpm.latents", i);
            GaussianLogProb.AdvanceClipped(
                x, Golden.Row("ddpm.pred_original_sample", i), Golden.Row("ddpm.noise", i), table.Steps[i], table.Clips![i], x);
            Close.To(Golden.Row("ddpm.latents", i + 1), x, 1e-5, $"step {i}");
        }
    }

    [Fact]
    public void Build_EpsilonClip_EqualsSamplePredictionOfTheClampedSample()
    {
        var (byEpsilon, bySample) = (DdpmTable.Build(Config, 8), DdpmTable.Build(Config with { Prediction = PredictionType.Sample }, 8));
        var schedule = new NoiseSchedule(Config);
        for (var i = 0; i < 8; i++)
        {
            var t = byEpsilon.Steps[i].Timestep;
            float[] x = [0.4f, -2, 0.1f], eps = [0.2f, 1.5f, -0.3f];
            var clean = x.Zip(eps, (xi, e) => (float)Math.Clamp((xi - schedule.Noise(t) * e) / schedule.Signal(t), -1, 1)).ToArray();
            var (a, b) = (new float[3], new float[3]);
            GaussianLogProb.AdvanceClipped(x, eps, new float[3], byEpsilon.Steps[i], byEpsilon.Clips![i], a);
            GaussianLogProb.AdvanceClipped(x, clean, new float[3], bySample.Steps[i], bySample.Clips![i], b);
            Close.To(b, a, 1e-5, $"step {i}");
        }
    }

    [Fact]
    public void Build_FixedSmallWithoutClip_EqualsDdimEta1()
    {
        var config = Config with { ClipSample = false, SetAlphaToOne = true };
        var (ddpm, ddim) = (DdpmTable.Build(config, 10), DdimTable.Build(config, 10, 1));
        for (var i = 0; i < 9; i++)
        {
            Assert.Equal(ddim.Steps[i].CX, ddpm.Steps[i].CX, 1e-9);
            Assert.Equal(ddim.Steps[i].CM, ddpm.Steps[i].CM, 1e-9);
            Assert.Equal(ddim.Steps[i].Sigma, ddpm.Steps[i].Sigma, 1e-9);
        }
        Assert.Equal(0, ddpm.Steps[^1].Sigma);
    }

    [Fact]
    public void Build_FixedLarge_UsesBeta()
    {
        var step = DdpmTable.Build(Config with { Variance = VarianceType.FixedLarge }, 8).Steps[2];
        var schedule = new NoiseSchedule(Config);
        Assert.Equal(1 - schedule.AlphaBar[625] / schedule.AlphaBar[500], step.Sigma * step.Sigma, 1e-12);
    }
}
