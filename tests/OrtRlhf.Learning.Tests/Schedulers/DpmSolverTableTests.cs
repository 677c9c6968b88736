using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Tests.Schedulers;

public sealed class DpmSolverTableTests
{
    private static readonly SchedulerConfig Sd =
        new() { BetaStart = 0.00085, BetaEnd = 0.012, Betas = BetaSchedule.ScaledLinear, ClipSample = false, StepsOffset = 1 };

    // x0 ~ N(mean, variance): the exact denoiser is linear, so the exact end of the probability flow from x_T is known.
    private static (double End, double Exact) Integrate(SchedulerConfig config, int steps)
    {
        const double mean = 0.4, variance = 0.5;
        var schedule = new NoiseSchedule(config);
        var table = DpmSolverTable.Build(config, steps);
        var first = table.Rows[0].Timestep;
        float[] x = [1.3f], x0 = new float[1];
        var (a1, s1) = (schedule.Signal(first), schedule.Noise(first));
        var exact = mean + (x[0] - a1 * mean) / Math.Sqrt(a1 * a1 * variance + s1 * s1) * Math.Sqrt(variance);
        for (var i = 0; i < steps; i++)
        {
            var (a, s) = (schedule.Signal(table.Rows[i].Timestep), schedule.Noise(table.Rows[i].Timestep));
            var eps = s * (x[0] - a * mean) / (a * a * variance + s * s);
            table.Step(i, x, [(float)eps], x0);
        }
        return (x[0], exact);
    }

    [Fact]
    public void Step_GaussianData_ConvergesToTheExactFlow()
    {
        var (coarse, exact) = Integrate(Sd with { Spacing = TimestepSpacing.Linspace }, 10);
        var (fine, _) = Integrate(Sd with { Spacing = TimestepSpacing.Linspace }, 40);
        Assert.Equal(exact, fine, 0.02); // a first-order solver is off by 0.046
        Assert.True(Math.Abs(fine - exact) < 0.3 * Math.Abs(coarse - exact), $"{coarse} {fine} {exact}");
    }

    // The same data under the flow's velocity, which is linear too; the noise itself is the latent at t = 1.
    private static double FlowError(int steps, bool secondOrder)
    {
        const double mean = 0.4, variance = 0.5;
        var schedule = new FlowSchedule(new() { Shift = 2 });
        var (solver, euler) = (DpmSolverTable.AdamsBashforth(schedule, steps),
            FlowTable.Build(schedule, new() { Steps = steps, Noise = FlowNoise.None }));
        float[] x = [1.3f], x0 = new float[1];
        for (var i = 0; i < steps; i++)
        {
            var t = solver.Rows[i].Time / 1000;
            Assert.Equal(euler.Steps[i].Time, solver.Rows[i].Time);
            float[] v = [(float)((t - (1 - t) * variance) / ((1 - t) * (1 - t) * variance + t * t) * (x[0] - (1 - t) * mean) - mean)];
            if (secondOrder) solver.Step(i, x, v, x0);
            else GaussianLogProb.Advance(x, v, [0], euler.Steps[i], x);
        }
        return Math.Abs(x[0] - (mean + 1.3 * Math.Sqrt(variance)));
    }

    [Fact]
    public void AdamsBashforth_GaussianData_ConvergesFasterThanEuler()
    {
        Assert.True(FlowError(80, true) < 0.35 * FlowError(40, true), $"{FlowError(40, true)} {FlowError(80, true)}");
        Assert.All([10, 20, 40], steps =>
            Assert.True(FlowError(steps, true) < 0.2 * FlowError(steps, false), $"{FlowError(steps, true)} {FlowError(steps, false)}"));
        Assert.True(FlowError(80, true) < 1e-3, $"{FlowError(80, true)}");
    }

    // A velocity that is linear in t is followed exactly from the second step on: x' = x + t'^2/2 - t^2/2 for v = t.
    [Fact]
    public void AdamsBashforth_LinearVelocity_IsExact()
    {
        var schedule = new FlowSchedule(new() { Shift = 3 });
        var (t, table) = (schedule.Sigmas(6), DpmSolverTable.AdamsBashforth(schedule, 6));
        float[] x = [0], before = new float[1];
        for (var i = 0; i < 6; i++)
        {
            var expected = x[0] + (i == 0 ? (t[1] - t[0]) * t[0] : (t[i + 1] * t[i + 1] - t[i] * t[i]) / 2);
            table.Step(i, x, [(float)t[i]], before);
            Assert.Equal(expected, x[0], 1e-6);
        }
    }

    // The first-order rows equal DDIM with eta 0; written out from the solver's formula for the row in between.
    [Fact]
    public void Build_Rows_MatchesFormula()
    {
        var table = DpmSolverTable.Build(Sd, 4);
        Assert.Equal([801L, 601, 401, 201], table.Rows.Select(r => r.Timestep));
        var schedule = new NoiseSchedule(Sd);
        double L(long t) => Math.Log(schedule.Signal(t) / schedule.Noise(t));
        var (h0, h1) = (L(601) - L(801), L(401) - L(601));
        var row = table.Rows[1];
        var a = schedule.Signal(401);
        Assert.Equal(schedule.Noise(401) / schedule.Noise(601), row.CX, 1e-12);
        Assert.Equal(-a * (Math.Exp(-h1) - 1) * (1 + h1 / (2 * h0)), row.CX0, 1e-12);
        Assert.Equal(a * (Math.Exp(-h1) - 1) * h1 / (2 * h0), row.CPrevious, 1e-12);
        Assert.Equal((0, 1, 0), (table.Rows[3].CX, table.Rows[3].CX0, table.Rows[3].CPrevious));

        var first = table.Rows[0];
        var ddim = DdimTable.Build(Sd, 5, 0).Steps[0];
        Assert.Equal(801, ddim.Timestep);
        Assert.Equal(ddim.CX, first.CX + first.CX0 * first.X0X, 1e-12);
        Assert.Equal(ddim.CM, first.CX0 * first.X0M, 1e-12);
    }

    [Theory]
    [InlineData(TimestepSpacing.Trailing, new long[] { 999, 799, 599, 399, 199 })]
    [InlineData(TimestepSpacing.Linspace, new long[] { 999, 799, 599, 400, 200 })]
    [InlineData(TimestepSpacing.Leading, new long[] { 831, 665, 499, 333, 167 })]
    public void Build_Spacing_TimestepsOfDiffusers(TimestepSpacing spacing, long[] expected) =>
        Assert.Equal(expected, DpmSolverTable.Build(Sd with { Spacing = spacing }, 5).Rows.Select(r => r.Timestep));

    [Fact]
    public void Build_ZeroTerminalSnr_IsFinite()
    {
        var table = DpmSolverTable.Build(
            Sd with { RescaleBetasZeroSnr = true, Prediction = PredictionType.Velocity, Spacing = TimestepSpacing.Trailing }, 6);
        Assert.All(table.Rows, r => Assert.True(double.IsFinite(r.CX + r.CX0 + r.CPrevious)));
    }

    [Fact]
    public void Step_ClipSample_BoundsTheResult()
    {
        var table = DpmSolverTable.Build(Sd with { ClipSample = true }, 3);
        float[] x = [40], x0 = new float[1];
        for (var i = 0; i < 3; i++)
            table.Step(i, x, [-1], x0);
        Assert.Equal(1, x[0]);
    }
}
