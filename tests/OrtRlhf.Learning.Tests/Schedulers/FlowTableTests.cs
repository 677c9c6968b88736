using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class FlowTableTests
{
    private static readonly FlowSchedule Shifted = new(new() { Shift = 3 });

    public static TheoryData<FlowNoise> Noisy => [FlowNoise.Assumed, FlowNoise.FlowGrpo, FlowNoise.DanceGrpo, FlowNoise.Cps];

    [Theory, NeedsGolden("sd3-tiny")]
    [InlineData("nocfg")]
    [InlineData("cfg_full")]
    [InlineData("cfg_uncond_detached")]
    public void Build_FlowGrpo_MatchesReference(string mode)
    {
        var golden = new GoldenFile("sd3-tiny/lora_golden.safetensors");
        var table = FlowTable.Build(Shifted, new());
        for (var b = 0; b < 2; b++)
        {
            var step = table.Steps[b == 0 ? 2 : 6];
            Assert.Equal(golden.Floats("flow.timestep")[b], step.Time, 1e-4);
            Assert.Equal(golden.Floats($"flow.{mode}.std")[b], step.Sigma, 1e-6);
            var (x, v, mu) = (golden.Row("flow.x_t", b), golden.Row($"flow.{mode}.velocity", b), new float[2048]);
            GaussianLogProb.Advance(x, v, new float[2048], step, mu);
            Close.To(golden.Row($"flow.{mode}.mu", b), mu, 2e-6, "mu");
            Assert.Equal(golden.Floats($"flow.{mode}.log_prob")[b],
                GaussianLogProb.OfStep(x, v, golden.Row($"flow.{mode}.x_prev", b), step), 2e-5);
        }
    }

    [Fact, NeedsGolden("sd3-tiny")]
    public void Build_FlowGrpoFirstStep_MatchesReference()
    {
        var golden = new GoldenFile("sd3-tiny/lora_golden.safetensors");
        var step = FlowTable.Build(Shifted, new()).Steps[0];
        Assert.Equal(1000, step.Time);
        var sigmas = Shifted.Sigmas(10);
        Assert.Equal(golden.Floats("flow.first_step.s")[0], step.Sigma / Math.Sqrt(1 - sigmas[1]), 1e-5);
        var (x, v, mu) = (golden.Row("flow.x_t", 0), golden.Floats("flow.first_step.velocity"), new float[2048]);
        GaussianLogProb.Advance(x, v, new float[2048], step, mu);
        Close.To(golden.Floats("flow.first_step.mu"), mu, 2e-6, "mu");
        Assert.Equal(golden.Floats("flow.first_step.log_prob")[0],
            GaussianLogProb.OfStep(x, v, golden.Floats("flow.first_step.x_prev"), step), 2e-5);
    }

    // The published form: the flow's step minus half of eta^2 times the score.
    [Fact]
    public void Build_DanceGrpo_MatchesFormula()
    {
        const double eta = 0.3, x = 0.7, v = -1.1;
        var (sigmas, table) = (Shifted.Sigmas(8), FlowTable.Build(Shifted, new() { Steps = 8, Noise = FlowNoise.DanceGrpo }));
        for (var i = 0; i < 7; i++)
        {
            var (t, dt) = (sigmas[i], sigmas[i + 1] - sigmas[i]);
            var score = -(x - (x - t * v) * (1 - t)) / (t * t);
            Assert.Equal(x + dt * v - 0.5 * eta * eta * score * dt, table.Steps[i].CX * x + table.Steps[i].CM * v, 1e-12);
            Assert.Equal(eta * Math.Sqrt(-dt), table.Steps[i].Sigma, 1e-12);
        }
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(1)]
    public void Build_Cps_MatchesFormulaAndPreservesTheCoefficients(double level)
    {
        const double x0 = 0.7, x1 = -1.1;
        var (sigmas, table) = (Shifted.Sigmas(8), FlowTable.Build(Shifted, new() { Steps = 8, Noise = FlowNoise.Cps, Level = level }));
        for (var i = 0; i < 7; i++)
        {
            var (t, next, step) = (sigmas[i], sigmas[i + 1], table.Steps[i]);
            var (x, v) = ((1 - t) * x0 + t * x1, x1 - x0);
            var noise = (step.CX * x + step.CM * v - (1 - next) * x0) / x1;
            Assert.Equal(next * Math.Sin(level * Math.PI / 2), step.Sigma, 1e-12);
            Assert.Equal(next * next, noise * noise + step.Sigma * step.Sigma, 1e-12);
        }
    }

    [Theory]
    [MemberData(nameof(Noisy))]
    public void Build_LastStep_ReturnsTheCleanSampleAndIsNotTrainedOn(FlowNoise noise)
    {
        var (t, table) = (Shifted.Sigmas(5)[4], FlowTable.Build(Shifted, new() { Steps = 5, Noise = noise }));
        Assert.Equal(new GaussianStep(1000 * t, 1, -t, 0), table.Steps[4]);
        Assert.Equal([0, 1, 2, 3], table.RequireDensity());
    }

    [Theory]
    [MemberData(nameof(Noisy))]
    public void Build_SmallLevel_BecomesEuler(FlowNoise noise)
    {
        var (table, euler) = (FlowTable.Build(Shifted, new() { Noise = noise, Level = 1e-7 }),
            FlowTable.Build(Shifted, new() { Noise = FlowNoise.None }));
        Assert.All(table.Steps.Zip(euler.Steps), pair =>
        {
            Assert.Equal(pair.Second.CX, pair.First.CX, 1e-9);
            Assert.Equal(pair.Second.CM, pair.First.CM, 1e-9);
            Assert.Equal(pair.Second.Sigma, pair.First.Sigma, 1e-6);
        });
    }

    [Fact]
    public void Build_Window_NoiseInsideAndEulerOutside()
    {
        var (whole, euler) = (FlowTable.Build(Shifted, new()), FlowTable.Build(Shifted, new() { Noise = FlowNoise.None }));
        var table = FlowTable.Build(Shifted, new() { Window = new(3, 2) });
        Assert.Equal([3, 4], table.RequireDensity());
        for (var i = 0; i < 10; i++)
            Assert.Equal(i is 3 or 4 ? whole.Steps[i] : euler.Steps[i], table.Steps[i]);
        Assert.Contains("steps 3 to 4", table.Name);
    }

    [Fact]
    public void Slide_MovesFromNoiseToImageAndBeginsAgain()
    {
        Assert.Equal([0, 0, 1, 1, 2, 2, 3, 3, 0], Enumerable.Range(0, 9).Select(i => NoiseWindow.Slide(i, 6, 2, 2).First));
        Assert.Equal([0, 2, 3, 0], Enumerable.Range(0, 4).Select(i => NoiseWindow.Slide(i, 6, 2, 1, 2).First));
        Assert.Equal(new NoiseWindow(0, 2), NoiseWindow.Slide(99, 6, 2, interval: 0));
        Assert.Contains("width", Assert.Throws<UserError>(() => NoiseWindow.Slide(0, 4)).Message);
    }

    [Fact]
    public void RequireDensity_Euler_ThrowsUserError() =>
        Assert.Contains("noise",
            Assert.Throws<UserError>(() => FlowTable.Build(Shifted, new() { Noise = FlowNoise.None }).RequireDensity()).Message);

    [Fact]
    public void Build_Faults_AreAllNamed()
    {
        var message = Assert.Throws<UserError>(() => FlowTable.Build(Shifted, new() { Level = -1, Window = new(8, 2) })).Message;
        Assert.Contains("noise level", message);
        Assert.Contains("noise window", message);
        Assert.Contains("at most 1",
            Assert.Throws<UserError>(() => FlowTable.Build(Shifted, new() { Noise = FlowNoise.Cps, Level = 1.1 })).Message);
    }
}
