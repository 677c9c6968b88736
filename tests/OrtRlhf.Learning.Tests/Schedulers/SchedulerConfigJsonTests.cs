using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class SchedulerConfigJsonTests
{
    [Fact]
    public void Parse_EmptyObject_HasDiffusersDdimDefaults()
    {
        var config = SchedulerConfigJson.Parse("{}");
        Assert.Equal(new SchedulerConfig(), config);
        Assert.Equal((1000, 1e-4, 0.02, true, true, 0),
            (config.TrainTimesteps, config.BetaStart, config.BetaEnd, config.SetAlphaToOne, config.ClipSample, config.StepsOffset));
    }

    [Fact]
    public void Parse_AllKeys_AreRead()
    {
        var config = SchedulerConfigJson.Parse("""
            { "_class_name": "DDIMScheduler", "num_train_timesteps": 500, "beta_start": 0.001, "beta_end": 0.03,
              "beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", "timestep_spacing": "linspace", "steps_offset": 2,
              "set_alpha_to_one": false, "rescale_betas_zero_snr": true, "clip_sample": false, "clip_sample_range": 3, "trained_betas": null,
              "unknown_key": [1] }
            """);
        Assert.Equal(
            new SchedulerConfig
            {
                TrainTimesteps = 500,
                BetaStart = 0.001,
                BetaEnd = 0.03,
                Betas = BetaSchedule.Cosine,
                Prediction = PredictionType.Sample,
                Spacing = TimestepSpacing.Linspace,
                StepsOffset = 2,
                SetAlphaToOne = false,
                RescaleBetasZeroSnr = true,
                ClipSample = false,
                ClipSampleRange = 3,
            },
            config);
    }

    // Stable Diffusion XL's file: keys that EulerDiscrete does not read are in it.
    [Fact]
    public void Parse_EulerDiscrete_EqualsItsOwnSolver()
    {
        var config = SchedulerConfigJson.Parse("""
            { "_class_name": "EulerDiscreteScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
              "clip_sample": true, "set_alpha_to_one": false, "timestep_spacing": "leading", "steps_offset": 1, "use_karras_sigmas": false }
            """);
        var table = DdimTable.Build(config, 6, 0);
        Assert.Null(table.Clips);
        // Euler's step in its own variables: y = x/a, d = epsilon, y' = y + (k' - k)*epsilon with k = s/a.
        var schedule = new NoiseSchedule(config);
        for (var i = 0; i < 6; i++)
        {
            double K(int j) => j < 6 ? schedule.Noise(table.Steps[j].Timestep) / schedule.Signal(table.Steps[j].Timestep) : 0;
            var (a, aNext) = (schedule.Signal(table.Steps[i].Timestep), i < 5 ? schedule.Signal(table.Steps[i + 1].Timestep) : 1);
            Assert.Equal(aNext / a, table.Steps[i].CX, 1e-12);
            Assert.Equal(aNext * (K(i + 1) - K(i)), table.Steps[i].CM, 1e-12);
        }
        // EulerAncestral: sigmaUp = k'*sqrt((k^2 - k'^2))/k in those variables.
        var ancestral = DdimTable.Build(config, 6, 1).Steps[2];
        double k = schedule.Noise(ancestral.Timestep) / schedule.Signal(ancestral.Timestep), t = table.Steps[3].Timestep;
        var kNext = schedule.Noise((long)t) / schedule.Signal((long)t);
        Assert.Equal(schedule.Signal((long)t) * kNext * Math.Sqrt(k * k - kNext * kNext) / k, ancestral.Sigma, 1e-12);
    }

    [Fact]
    public void Parse_Pndm_HasItsDefaults()
    {
        var config = SchedulerConfigJson.Parse("""{ "_class_name": "PNDMScheduler", "skip_prk_steps": true }""");
        Assert.Equal((false, false, TimestepSpacing.Leading), (config.SetAlphaToOne, config.ClipSample, config.Spacing));
    }

    // What diffusers' classes take for keys that a file leaves out: betas, spacing, clipping, the last alpha bar, where a step lands.
    [Theory]
    [InlineData("DDIMScheduler", 1e-4, 0.02, TimestepSpacing.Leading, true, true, false)]
    [InlineData("DDPMScheduler", 1e-4, 0.02, TimestepSpacing.Leading, true, true, false)]
    [InlineData("PNDMScheduler", 1e-4, 0.02, TimestepSpacing.Leading, false, false, false)]
    [InlineData("EulerDiscreteScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("EulerAncestralDiscreteScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("LMSDiscreteScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("HeunDiscreteScheduler", 0.00085, 0.012, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("KDPM2DiscreteScheduler", 0.00085, 0.012, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("KDPM2AncestralDiscreteScheduler", 0.00085, 0.012, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("DPMSolverSDEScheduler", 0.00085, 0.012, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("DPMSolverMultistepScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("DPMSolverSinglestepScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("UniPCMultistepScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("DEISMultistepScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    [InlineData("SASolverScheduler", 1e-4, 0.02, TimestepSpacing.Linspace, false, true, true)]
    public void Parse_ClassAlone_HasItsDefaults(string name, double start, double end, TimestepSpacing spacing, bool clips, bool alphaOne,
        bool toNext)
    {
        var config = SchedulerConfigJson.Parse($$"""{ "_class_name": "{{name}}" }""");
        Assert.Equal((name, start, end, spacing, clips, alphaOne, toNext),
            (config.ClassName, config.BetaStart, config.BetaEnd, config.Spacing, config.ClipSample, config.SetAlphaToOne,
                config.StepsToNextTimestep));
        Assert.Equal((1000, 0, BetaSchedule.Linear, PredictionType.Epsilon, false),
            (config.TrainTimesteps, config.StepsOffset, config.Betas, config.Prediction, config.RescaleBetasZeroSnr));
        Assert.Contains(name, SchedulerConfigJson.SupportedClasses);
        Assert.Equal(4, DdimTable.Build(config, 4, 1).Steps.Count);
        Assert.Equal(4, DpmSolverTable.Build(config, 4).Rows.Count);
    }

    [Theory]
    [InlineData("""{ "_class_name": "LCMScheduler" }""", "tune the model it was distilled from")]
    [InlineData("""{ "_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous" }""", "timestep_type: expected discrete")]
    [InlineData("""{ "_class_name": "EulerDiscreteScheduler", "sigma_max": 700.0 }""", "sigma_max: expected null")]
    [InlineData("""{ "_class_name": "FlowMatchEulerDiscreteScheduler" }""", "FlowMatchEulerDiscreteScheduler")]
    [InlineData("""{ "_class_name": "ScoreSdeVeScheduler" }""", "DDIMScheduler")]
    [InlineData("""{ "beta_schedule": "laplace" }""", "squaredcos_cap_v2")]
    [InlineData("""{ "prediction_type": "flow_prediction" }""", "v_prediction")]
    [InlineData("""{ "timestep_spacing": 3 }""", "leading")]
    [InlineData("""{ "thresholding": true }""", "thresholding")]
    [InlineData("""{ "_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true }""", "use_karras_sigmas")]
    [InlineData("""{ "_class_name": "DDPMScheduler", "variance_type": "learned_range" }""", "fixed_large")]
    [InlineData("""{ "num_train_timesteps": "1000" }""", "an integer")]
    [InlineData("""{ "num_train_timesteps": 1 }""", "num_train_timesteps")]
    [InlineData("""{ "beta_start": -1, "clip_sample_range": 0 }""", "clip_sample_range")]
    [InlineData("""{ "trained_betas": [0.1, "x"] }""", "array of numbers")]
    [InlineData("""{ "trained_betas": [0.1] }""", "got 1")]
    [InlineData("[1]", "JSON object")]
    [InlineData("{ \"a\": ", "expected JSON")]
    public void Parse_Faults_ThrowsOneLine(string json, string mentions)
    {
        var error = Assert.Throws<UserError>(() => SchedulerConfigJson.Parse(json, "dir/scheduler_config.json"));
        Assert.Contains(mentions, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Parse_DeepJson_ThrowsUserError() =>
        Assert.Throws<UserError>(() => SchedulerConfigJson.Parse(string.Concat(Enumerable.Repeat("{\"a\":", 100_000))));

    [Fact]
    public void Read_MissingFile_ThrowsUserError() =>
        Assert.Contains("no-such", Assert.Throws<UserError>(() => SchedulerConfigJson.Read("no-such/scheduler_config.json")).Message);
}
