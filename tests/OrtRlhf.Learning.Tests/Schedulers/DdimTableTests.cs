using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class DdimTableTests
{
    private static readonly GoldenFile Sd1 = new("sd1-tiny/golden.safetensors");
    private static readonly GoldenFile Sd2 = new("sd2-tiny/golden.safetensors");

    private static SchedulerConfig Config(string model) =>
        SchedulerConfigJson.Read(GoldenFile.Locate($"{model}/scheduler/scheduler_config.json"));

    [Fact]
    public void Build_Eta0_MatchesReference()
    {
        var table = DdimTable.Build(Config("sd1-tiny"), 8, 0);
        Assert.Equal(Sd1.Longs("ddim_eta0.timesteps"), table.Steps.Select(s => s.Timestep));
        for (var i = 0; i < 8; i++)
        {
            var x = Sd1.Row("ddim_eta0.latents", i);
            GaussianLogProb.Advance(x, Sd1.Row("ddim_eta0.guided_output", i), new float[x.Length], table.Steps[i], x);
            Close.To(Sd1.Row("ddim_eta0.latents", i + 1), x, 3e-6, $"step {i}");
        }
    }

    [Fact]
    public void Build_Eta1_MatchesReference()
    {
        var table = DdimTable.Build(Config("sd1-tiny"), 8, 1);
        Assert.Equal(Sd1.Longs("ddim_eta1.timesteps"), table.Steps.Select(s => s.Timestep));
        Assert.Equal(Enumerable.Range(0, 8), table.RequireDensity());
        for (var i = 0; i < 8; i++)
        {
            var step = table.Steps[i];
            Assert.Equal(Sd1.Floats("ddim_eta1.sigma")[i], step.Sigma, 1e-5);
            var (x, m, next) = (Sd1.Row("ddim_eta1.latents", i), Sd1.Row("ddim_eta1.guided_output", i), new float[2048]);
            GaussianLogProb.Advance(x, m, new float[2048], step, next);
            Close.To(Sd1.Row("ddim_eta1.mu", i), next, 3e-6, $"mu {i}");
            GaussianLogProb.Advance(x, m, Sd1.Row("ddim_eta1.noise", i), step, next);
            Close.To(Sd1.Row("ddim_eta1.latents", i + 1), next, 3e-6, $"latent {i}");
            var reference = Sd1.Row("ddim_eta1.latents", i + 1);
            for (var b = 0; b < 2; b++)
            {
                Range row = (b * 1024)..((b + 1) * 1024);
                var logp = GaussianLogProb.OfStep(x.AsSpan(row), m.AsSpan(row), reference.AsSpan(row), step);
                Assert.Equal(Sd1.Row("ddim_eta1.log_prob", i)[b], logp, 5e-5);
            }
        }
    }

    // The chain of sd2-tiny stores no model outputs: m is recovered from the stored mean, so what this pins are the
    // timesteps, sigmas, the chain x' = mu + sigma z and its log-probs for v-prediction.
    [Fact]
    public void Build_VelocityPrediction_MatchesReference()
    {
        var table = DdimTable.Build(Config("sd2-tiny"), 8, 1);
        Assert.Equal(Sd2.Longs("ddim_eta1.timesteps"), table.Steps.Select(s => s.Timestep));
        for (var i = 0; i < 8; i++)
        {
            var step = table.Steps[i];
            Assert.Equal(Sd2.Floats("ddim_eta1.sigma")[i], step.Sigma, 1e-5);
            var (x, mu) = (Sd2.Row("ddim_eta1.latents", i), Sd2.Row("ddim_eta1.mu", i));
            var m = x.Zip(mu, (xi, mui) => (float)((mui - step.CX * xi) / step.CM)).ToArray();
            var next = new float[x.Length];
            GaussianLogProb.Advance(x, m, Sd2.Row("ddim_eta1.noise", i), step, next);
            Close.To(Sd2.Row("ddim_eta1.latents", i + 1), next, 3e-6, $"latent {i}");
            for (var b = 0; b < 2; b++)
            {
                Range row = (b * 256)..((b + 1) * 256);
                var logp = GaussianLogProb.OfStep(
                    x.AsSpan(row), m.AsSpan(row), Sd2.Row("ddim_eta1.latents", i + 1).AsSpan(row), step);
                Assert.Equal(Sd2.Row("ddim_eta1.log_prob", i)[b], logp, 5e-5);
            }
        }
    }

    // The DDPO transitions of both models store output and mean: v-prediction against epsilon.
    [Theory]
    [InlineData("sd1-tiny")]
    [InlineData("sd2-tiny")]
    public void Build_DdpoTransitions_MatchesReference(string model)
    {
        var golden = new GoldenFile($"{model}/lora_golden.safetensors");
        var table = DdimTable.Build(Config(model), 8, 1);
        for (var i = 0; i < 2; i++)
        {
            var step = table.Steps.Single(s => s.Timestep == golden.Longs("ddpo.timestep")[i]);
            var (x, m, next) = (golden.Row("ddpo.x_t", i), golden.Row("ddpo.guided_output", i), golden.Row("ddpo.x_prev", i));
            Assert.Equal(golden.Floats("ddpo.log_prob")[i], GaussianLogProb.OfStep(x, m, next, step), 2e-6);
            GaussianLogProb.Advance(x, m, new float[x.Length], step, x);
            Close.To(golden.Row("ddpo.mu", i), x, 3e-6);
        }
    }

    [Theory]
    [InlineData(PredictionType.Epsilon)]
    [InlineData(PredictionType.Velocity)]
    [InlineData(PredictionType.Sample)]
    public void Build_PerfectModel_ReturnsTheSample(PredictionType prediction)
    {
        // A model that knows x0 = 0.3 leads any start to it, whatever it predicts.
        var config = Config("sd1-tiny") with { Prediction = prediction, SetAlphaToOne = true };
        var schedule = new NoiseSchedule(config);
        var x = schedule.Signal(876) * 0.3 + schedule.Noise(876) * 1.7;
        foreach (var step in DdimTable.Build(config, 8, 0).Steps)
        {
            var (a, s) = (schedule.Signal(step.Timestep), schedule.Noise(step.Timestep));
            var eps = (x - a * 0.3) / s;
            var m = prediction switch { PredictionType.Epsilon => eps, PredictionType.Velocity => a * eps - s * 0.3, _ => 0.3 };
            x = step.CX * x + step.CM * m;
        }
        Assert.Equal(0.3, x, 1e-9);
    }

    [Theory]
    [InlineData("trailing")]
    [InlineData("linear_betas_other_prediction")]
    [InlineData("zero_snr_v_trailing")]
    [InlineData("alpha_to_one_clip")]
    public void Build_Variants_MatchesReference(string variant)
    {
        var json = System.Text.Json.Nodes.JsonNode.Parse(GoldenFile.Json("sd1-tiny/golden.json").GetProperty("scheduler_config")
            .GetRawText())!;
        foreach (var change in GoldenFile.Json("sd1-tiny/golden.json").GetProperty("scheduler_variants").GetProperty(variant)
            .EnumerateObject())
            json[change.Name] = System.Text.Json.Nodes.JsonNode.Parse(change.Value.GetRawText());
        var config = SchedulerConfigJson.Parse(json.ToJsonString());
        var table = DdimTable.Build(config, 5, 0);
        Assert.Equal(Sd1.Longs($"variant.{variant}.timesteps"), table.Steps.Select(s => s.Timestep));
        var alphaBar = new NoiseSchedule(config).AlphaBar.ToArray().Select(a => (float)a).ToArray();
        var reference = Sd1.Floats($"variant.{variant}.alphas_cumprod");
        for (var t = 0; t < 1000; t++)
            Assert.Equal(reference[t], alphaBar[t], 2e-6);
        Assert.Equal(variant == "alpha_to_one_clip", table.Clips is not null);
        Assert.Throws<UserError>(table.RequireDensity);

        // The model's outputs are not stored; what shows of the clip is that the last step returns a clamped sample.
        if (variant == "alpha_to_one_clip")
            Assert.True(Sd1.Row($"variant.{variant}.latents", 5).Max(MathF.Abs) <= 1);
    }

    [Fact]
    public void Build_FinalAlphaOne_LastStepHasNoDensity()
    {
        var table = DdimTable.Build(new SchedulerConfig { ClipSample = false }, 10, 1);
        Assert.Equal(0, table.Steps[^1].Sigma);
        Assert.Equal(Enumerable.Range(0, 9), table.RequireDensity());
    }

    [Fact]
    public void Build_NoiseWindow_IsAncestralWithinAndDeterministicOutside()
    {
        var config = Config("sd2-tiny");
        var (table, noisy, still) = (DdimTable.Build(config, 8, 1, new NoiseWindow(1, 3)), DdimTable.Build(config, 8, 1),
            DdimTable.Build(config, 8, 0));
        Assert.Equal([1, 2, 3], table.RequireDensity());
        for (var i = 0; i < 8; i++) Assert.Equal(i is >= 1 and <= 3 ? noisy.Steps[i] : still.Steps[i], table.Steps[i]);
    }

    [Theory]
    [InlineData(-1, 3)]
    [InlineData(6, 3)]
    [InlineData(2, 0)]
    public void Build_NoiseWindowBeyondTheSteps_ThrowsUserError(int first, int count) =>
        Assert.Contains("noise window",
            Assert.Throws<UserError>(() => DdimTable.Build(Config("sd1-tiny"), 8, 1, new NoiseWindow(first, count))).Message);

    [Fact]
    public void RequireDensity_Eta0_ThrowsUserError()
    {
        var error = Assert.Throws<UserError>(() => DdimTable.Build(Config("sd1-tiny"), 8, 0).RequireDensity());
        Assert.Contains("eta", error.Message);
    }

    [Fact]
    public void RequireDensity_ClipSample_ThrowsUserError() =>
        Assert.Contains("clip_sample",
            Assert.Throws<UserError>(() => DdimTable.Build(new SchedulerConfig(), 8, 1).RequireDensity()).Message);

    [Theory]
    [InlineData(-0.1)]
    [InlineData(1.1)]
    [InlineData(double.NaN)]
    public void Build_EtaOutOfRange_ThrowsUserError(double eta) =>
        Assert.Throws<UserError>(() => DdimTable.Build(new SchedulerConfig(), 8, eta));

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    public void Build_StepsOutOfRange_ThrowsUserError(int steps) =>
        Assert.Throws<UserError>(() => DdimTable.Build(new SchedulerConfig(), steps, 1));

    [Fact]
    public void Build_ZeroSnrWithEpsilon_ThrowsUserError() =>
        Assert.Throws<UserError>(() => DdimTable.Build(
            new SchedulerConfig { RescaleBetasZeroSnr = true, Spacing = TimestepSpacing.Trailing }, 5, 1));

    [Fact]
    public void Build_ZeroSnrEta1_IsFinite()
    {
        var config = new SchedulerConfig
        {
            RescaleBetasZeroSnr = true,
            Spacing = TimestepSpacing.Trailing,
            Prediction = PredictionType.Velocity,
            ClipSample = false,
        };
        Assert.All(DdimTable.Build(config, 5, 1).Steps, s =>
            Assert.True(double.IsFinite(s.CX) && double.IsFinite(s.CM) && double.IsFinite(s.Sigma)));
    }
}
