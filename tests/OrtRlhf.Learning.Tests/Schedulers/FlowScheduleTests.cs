using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class FlowScheduleTests
{
    private static float[] Floats(IEnumerable<double> values) => [.. values.Select(value => (float)value)];

    [Fact, NeedsGolden("sd3-tiny")]
    public void Sigmas_StaticShift_MatchesReference()
    {
        var schedule = new FlowSchedule(FlowSchedulerConfigJson.Read(GoldenFile.Locate("sd3-tiny/scheduler/scheduler_config.json")));
        var golden = new GoldenFile("sd3-tiny/golden.safetensors");
        Close.To(golden.Floats("euler.sigmas"), Floats(schedule.Sigmas(6)), 2e-7);
        Close.To(golden.Floats("euler.timesteps"), Floats(schedule.Sigmas(6)[..^1].Select(schedule.Time)), 2e-7);
        Close.To(new GoldenFile("sd3-tiny/lora_golden.safetensors").Floats("flow.all_sigmas"), Floats(schedule.Sigmas(10)), 2e-7);
    }

    [Fact]
    public void Sigmas_StaticShift_LastIsShiftedTwice()
    {
        var schedule = new FlowSchedule(new() { Shift = 3 });
        Assert.Equal(0.003 / 1.002, schedule.Shift(0.001), 1e-15);
        Assert.Equal(schedule.Shift(schedule.Shift(0.001)), schedule.Sigmas(10)[9], 1e-15);
        Assert.Equal(schedule.Shift(0.1), schedule.Sigmas(10, FlowSpacing.Even)[9], 1e-15);
    }

    // mu as the pipelines compute it: 0.5 at 256 tokens, 1.15 at 4096, linear in between; the range itself is not shifted before.
    [Theory]
    [InlineData(256, 0.5)]
    [InlineData(4096, 1.15)]
    [InlineData(1024, 0.63)]
    public void Sigmas_DynamicShift_MatchesFormula(int tokens, double mu)
    {
        var config = new FlowSchedulerConfig { UseDynamicShifting = true, Shift = 3 };
        Assert.Equal(mu, config.Mu(tokens), 1e-12);
        double[] even = [1, 0.75, 0.5, 0.25], trained = [1, 0.667, 0.334, 0.001];
        double Exponential(double t) => Math.Exp(mu) / (Math.Exp(mu) + (1 / t - 1));
        var schedule = new FlowSchedule(config, tokens);
        Close.To(Floats([.. even.Select(Exponential), 0]), Floats(schedule.Sigmas(4, FlowSpacing.Even)), 1e-7);
        Close.To(Floats([.. trained.Select(Exponential), 0]), Floats(schedule.Sigmas(4)), 1e-7);
        var linear = new FlowSchedule(config with { TimeShift = FlowTimeShift.Linear }, tokens);
        Close.To(Floats([.. even.Select(t => mu / (mu + (1 / t - 1))), 0]), Floats(linear.Sigmas(4, FlowSpacing.Even)), 1e-7);
    }

    // 1, 0.9, 0.75, 0.5 of four even steps with a shift of 3; 1 - t is stretched by 0.8/0.5.
    [Fact]
    public void Sigmas_ShiftTerminal_StretchesTheLast() =>
        Close.To([1, 0.84f, 0.6f, 0.2f, 0],
            Floats(new FlowSchedule(new() { Shift = 3, ShiftTerminal = 0.2 }).Sigmas(4, FlowSpacing.Even)), 1e-7);

    [Fact]
    public void Sigmas_Curves_RunFromTheFirstToTheLastOfTheShifted()
    {
        float[] Of(FlowCurve curve) => Floats(new FlowSchedule(new() { Shift = 3, Curve = curve }).Sigmas(4, FlowSpacing.Even));
        double Root(double r) => Math.Pow(1 - r + r * Math.Pow(0.5, 1 / 7.0), 7);
        Close.To(Floats([1, Root(1 / 3.0), Root(2 / 3.0), 0.5, 0]), Of(FlowCurve.Karras), 1e-7);
        Close.To(Floats([1, Math.Pow(0.5, 1 / 3.0), Math.Pow(0.5, 2 / 3.0), 0.5, 0]), Of(FlowCurve.Exponential), 1e-7);
        var third = QuantileOfBeta(1 / 3.0);
        Close.To(Floats([1, 1 - third / 2, 0.5 + third / 2, 0.5, 0]), Of(FlowCurve.Beta), 1e-5);
    }

    // Beta(0.6, 0.6) by the midpoint rule, with t = sin(a)^2, which takes the poles away.
    private static double QuantileOfBeta(double p)
    {
        const int Parts = 1_000_000;
        double Density(int i) => Math.Pow(Math.Sin(Math.PI * (i + 0.5) / Parts), 0.2);
        var (left, i) = (p * Enumerable.Range(0, Parts).Sum(Density), 0);
        while ((left -= Density(i)) > 0)
            i++;
        return Math.Pow(Math.Sin(Math.PI * (i + 0.5) / Parts / 2), 2);
    }

    [Theory]
    [InlineData(FlowSpacing.Trained, FlowCurve.None, 0)]
    [InlineData(FlowSpacing.Even, FlowCurve.None, 0)]
    [InlineData(FlowSpacing.Trained, FlowCurve.Karras, 0.05)]
    [InlineData(FlowSpacing.Even, FlowCurve.Exponential, 0)]
    [InlineData(FlowSpacing.Trained, FlowCurve.Beta, 0.1)]
    public void Sigmas_AnyCount_FallFromOneToZero(FlowSpacing spacing, FlowCurve curve, double terminal)
    {
        foreach (var steps in (int[])[1, 2, 7, 1000])
        {
            var sigmas = new FlowSchedule(new() { Shift = 3, Curve = curve, ShiftTerminal = terminal }).Sigmas(steps, spacing);
            Assert.Equal((steps + 1, 1, 0), (sigmas.Length, sigmas[0], sigmas[^1]));
            Assert.All(sigmas.Zip(sigmas.Skip(1)), pair => Assert.True(pair.First > pair.Second));
        }
    }

    [Fact, NeedsGolden("sd3-tiny")]
    public void AddNoiseAndTarget_MatchReference()
    {
        var golden = new GoldenFile("sd3-tiny/lora_golden.safetensors");
        for (var b = 0; b < 2; b++)
        {
            var x = new float[2048];
            FlowSchedule.AddNoise(golden.Row("flowmatch.x0", b), golden.Row("flowmatch.noise", b), golden.Floats("flowmatch.sigma")[b], x);
            Close.To(golden.Row("flowmatch.x_t", b), x, 1e-6);
            var clean = golden.Floats(b == 0 ? "dpo.x0_w" : "dpo.x0_l");
            FlowSchedule.AddNoise(clean, golden.Floats("dpo.noise"), golden.Floats("dpo.timestep")[0] / 1000, x);
            Close.To(golden.Row("dpo.x_t", b), x, 1e-6);
            FlowSchedule.Target(clean, golden.Floats("dpo.noise"), x);
            Close.To(golden.Row("dpo.target", b), x, 1e-6);
        }
    }

    [Fact]
    public void Parse_AllKeys_AreRead()
    {
        var config = FlowSchedulerConfigJson.Parse("""
            { "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 500, "shift": 2.5, "use_dynamic_shifting": true, "base_shift": 0.4,
              "max_shift": 1.2, "base_image_seq_len": 64, "max_image_seq_len": 1024, "time_shift_type": "linear", "invert_sigmas": false,
              "shift_terminal": 0.1, "use_karras_sigmas": true, "use_beta_sigmas": false, "unknown_key": [1] }
            """);
        Assert.Equal(
            new FlowSchedulerConfig
            {
                TrainTimesteps = 500,
                Shift = 2.5,
                UseDynamicShifting = true,
                BaseShift = 0.4,
                MaxShift = 1.2,
                BaseImageSeqLen = 64,
                MaxImageSeqLen = 1024,
                TimeShift = FlowTimeShift.Linear,
                ShiftTerminal = 0.1,
                Curve = FlowCurve.Karras,
            },
            config);
        Assert.Equal(new FlowSchedulerConfig(), FlowSchedulerConfigJson.Parse("{}"));
        Assert.Equal(FlowCurve.Beta, FlowSchedulerConfigJson.Parse("""{ "use_beta_sigmas": true, "shift_terminal": null }""").Curve);
    }

    [Theory]
    [InlineData("""{ "_class_name": "FlowMatchHeunDiscreteScheduler" }""", true)]
    [InlineData("""{ "_class_name": "FlowMatchLCMScheduler" }""", true)]
    [InlineData("""{ "_class_name": "DDIMScheduler" }""", false)]
    [InlineData("{}", false)]
    public void IsFlow_GoesByTheClass(string json, bool expected) => Assert.Equal(expected, FlowSchedulerConfigJson.IsFlow(json));

    [Theory]
    [InlineData("""{ "_class_name": "FlowMatchLCMScheduler" }""", "FlowMatchEulerDiscreteScheduler")]
    [InlineData("""{ "shift_terminal": 1 }""", "shift_terminal: expected a number in [0, 1)")]
    [InlineData("""{ "use_beta_sigmas": true, "use_karras_sigmas": true }""", "use_beta_sigmas: expected false beside use_karras_sigmas")]
    [InlineData("""{ "invert_sigmas": true }""", "invert_sigmas")]
    [InlineData("""{ "stochastic_sampling": true }""", "stochastic_sampling")]
    [InlineData("""{ "time_shift_type": "cosine" }""", "exponential or linear")]
    [InlineData("""{ "shift": 0, "max_image_seq_len": 256 }""", "max_image_seq_len")]
    [InlineData("""{ "shift": "3" }""", "shift: expected a number")]
    [InlineData("[]", "JSON object")]
    public void Parse_Faults_ThrowsOneLine(string json, string mentions)
    {
        var error = Assert.Throws<UserError>(() => FlowSchedulerConfigJson.Parse(json, "dir/scheduler_config.json"));
        Assert.Contains(mentions, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Schedule_Faults_ThrowUserError()
    {
        Assert.Contains("tokens", Assert.Throws<UserError>(() => new FlowSchedule(new() { UseDynamicShifting = true })).Message);
        Assert.Contains("steps", Assert.Throws<UserError>(() => new FlowSchedule(new()).Sigmas(0)).Message);
        Assert.Contains("steps", Assert.Throws<UserError>(() => new FlowSchedule(new()).Sigmas(1001)).Message);
        Assert.Contains("keeps the times apart",
            Assert.Throws<UserError>(() => new FlowSchedule(new() { Shift = 1e300, ShiftTerminal = 0.1 }).Sigmas(4)).Message);
    }
}
