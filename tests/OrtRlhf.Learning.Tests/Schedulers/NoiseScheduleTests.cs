using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class NoiseScheduleTests
{
    [Theory]
    [InlineData("sd1-tiny", "golden.safetensors")]
    [InlineData("sd2-tiny", "golden.safetensors")]
    [InlineData("ddpm-tiny", "golden.safetensors")]
    public void AlphaBar_MatchesReference(string model, string file)
    {
        var reference = new GoldenFile($"{model}/{file}").Floats("scheduler.alphas_cumprod");
        var schedule = new NoiseSchedule(SchedulerConfigJson.Read(GoldenFile.Locate($"{model}/scheduler/scheduler_config.json")));
        for (var t = 0; t < reference.Length; t++)
            Assert.Equal(reference[t], schedule.AlphaBar[t], 1e-6);
    }

    [Fact]
    public void AddNoise_Ddpm_MatchesReference()
    {
        var golden = new GoldenFile("ddpm-tiny/golden.safetensors");
        var schedule = new NoiseSchedule(SchedulerConfigJson.Read(GoldenFile.Locate("ddpm-tiny/scheduler/scheduler_config.json")));
        for (var i = 0; i < 2; i++)
        {
            var (x0, noise) = (golden.Row("train.x0", i), golden.Row("train.noise", i));
            var (xt, target) = (new float[x0.Length], new float[x0.Length]);
            schedule.AddNoise(x0, noise, golden.Longs("train.timestep")[i], xt);
            schedule.Target(x0, noise, golden.Longs("train.timestep")[i], target);
            Close.To(golden.Row("train.x_t", i), xt, 1e-6);
            Close.To(golden.Row("train.target", i), target, 0);
        }
    }

    [Theory]
    [InlineData("sd1-tiny")]
    [InlineData("sd2-tiny")]
    public void Target_DpoPairs_MatchesReference(string model)
    {
        var golden = new GoldenFile($"{model}/lora_golden.safetensors");
        var schedule = new NoiseSchedule(SchedulerConfigJson.Read(GoldenFile.Locate($"{model}/scheduler/scheduler_config.json")));
        var t = golden.Longs("dpo.timestep")[0];
        foreach (var (side, i) in new[] { ("dpo.x0_w", 0), ("dpo.x0_l", 1) })
        {
            var (x0, noise) = (golden.Floats(side), golden.Floats("dpo.noise"));
            var target = new float[x0.Length];
            schedule.Target(x0, noise, t, target);
            Close.To(golden.Row("dpo.target", i), target, 1e-6);
            schedule.AddNoise(x0, noise, t, x0); // in place
            Close.To(golden.Row("dpo.x_t", i), x0, 1e-6);
        }
    }

    [Fact]
    public void AlphaBar_Cosine_FollowsTheSquaredCosine()
    {
        var schedule = new NoiseSchedule(new SchedulerConfig { Betas = BetaSchedule.Cosine });
        double F(double u) => Math.Pow(Math.Cos((u + 0.008) / 1.008 * Math.PI / 2), 2);
        Assert.Equal(F(0.5) / F(0), schedule.AlphaBar[499], 1e-12);
        // The last beta is capped at 0.999, so the last alpha bar is not zero.
        Assert.Equal(schedule.AlphaBar[998] * 0.001, schedule.AlphaBar[999], 1e-15);
        Assert.True(schedule.AlphaBar[999] > 0);
    }

    [Fact]
    public void AlphaBar_TrainedBetas_AreTaken()
    {
        var schedule = new NoiseSchedule(new SchedulerConfig { TrainTimesteps = 2, TrainedBetas = [0.5, 0.25], SetAlphaToOne = false });
        Assert.Equal([0.5, 0.375], schedule.AlphaBar.ToArray());
        Assert.Equal(0.5, schedule.FinalAlphaBar);
        Assert.Equal(0.6, schedule.Snr(1), 1e-12);
    }
}
