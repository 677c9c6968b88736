namespace OrtRlhf.Learning.Schedulers;

/// <summary>One row of a two-step deterministic solver: <c>x' = cX*x + cX0*x0 + cPrevious*x0Previous</c>.</summary>
/// <param name="Time">Where the model is evaluated, as in <see cref="GaussianStep"/>.</param>
/// <param name="CX">Weight of the current latent.</param>
/// <param name="CX0">Weight of the clean sample predicted now, <c>x0 = x0X*x + x0M*m</c> (clamped to the range, if there is one).</param>
/// <param name="CPrevious">Weight of the clean sample predicted in the step before; 0 in the first.</param>
/// <param name="X0X">Weight of the latent in the predicted clean sample.</param>
/// <param name="X0M">Weight of the model's output in it.</param>
/// <remarks>Of a flow's table, the prediction x0 is the velocity itself (x0X = 0, x0M = 1).</remarks>
public readonly record struct MultistepRow(double Time, double CX, double CX0, double CPrevious, double X0X, double X0M)
{
    /// <summary>The time as the index that diffusion models take.</summary>
    public long Timestep => (long)Time;
}

/// <summary>
/// DPM-Solver++(2M) (Lu et al. 2022), a deterministic sampler for evaluation: as good in 20 steps as DDIM in 50.
/// With <c>lambda = ln(a/s)</c>, <c>h = lambda' - lambda</c>, <c>r = h_before/h</c>:
/// <c>x' = s'/s*x - a'*(e^-h - 1)*D</c>, <c>D = (1 + 1/(2r))*x0 - 1/(2r)*x0Previous</c>. The first and the last step are of
/// first order (<c>D = x0</c>); the last ends at sigma 0, so that it returns x0. Still linear in x, m and the stored x0.
/// For flows (<see cref="AdamsBashforth"/>) a table of the same form has the two-step method of Adams and Bashforth.
/// </summary>
public sealed record DpmSolverTable
{
    private DpmSolverTable(string name, MultistepRow[] rows, double clipRange) => (Name, Rows, ClipRange) = (name, rows, clipRange);

    /// <summary>Name and settings in a few words.</summary>
    public string Name { get; }

    /// <summary>The rows in the order in which they are taken.</summary>
    public IReadOnlyList<MultistepRow> Rows { get; }

    /// <summary>The predicted clean sample is clamped to [-range, range]; infinite when it is not clamped.</summary>
    public double ClipRange { get; }

    /// <summary>Builds the table.</summary>
    /// <param name="config">Schedule, prediction type and spacing (timesteps as diffusers' DPMSolverMultistepScheduler chooses
    /// them).</param>
    /// <param name="steps">N, 1 to T-1.</param>
    /// <exception cref="Graph.UserError">A value is out of range.</exception>
    public static DpmSolverTable Build(SchedulerConfig config, int steps)
    {
        var schedule = new NoiseSchedule(config);
        var timesteps = Timesteps.OfDpmSolver(config, steps);
        var rows = new MultistepRow[steps];
        var hBefore = double.NaN;
        for (var i = 0; i < steps; i++)
        {
            var isLast = i == steps - 1;
            var at = schedule.AlphaBar[(int)timesteps[i]];
            var ap = isLast ? 1 : schedule.AlphaBar[(int)timesteps[i + 1]];
            var (a, s) = (Math.Sqrt(ap), Math.Sqrt(1 - ap));
            var h = Lambda(ap) - Lambda(at);
            var cD = a * (1 - Math.Exp(-h));
            var w = i == 0 || isLast ? 0 : h / (2 * hBefore);
            var prediction = LinearPrediction.At(at, config.Prediction);
            rows[i] = new(timesteps[i], s / Math.Sqrt(1 - at), cD * (1 + w), -cD * w, prediction.X0X, prediction.X0M);
            hBefore = h;
        }
        return new($"DPM-Solver++(2M), {steps} steps", rows, config.ClipSample ? config.ClipSampleRange : double.PositiveInfinity);
    }

    /// <summary>
    /// Builds the second-order table of a flow: <c>x' = x + dt*(v + r*(v - vPrevious))</c> with <c>r = dt/(2*dtBefore)</c>, the first step
    /// Euler's. A
    /// flow's paths are nearly straight in t, not in ln(a/s): with 10 to 20 steps DPM-Solver++ is no better than Euler there, and this is
    /// several times so.
    /// </summary>
    /// <param name="schedule">The flow's times.</param>
    /// <param name="steps">N, 1 to T.</param>
    /// <param name="spacing">How the times are chosen.</param>
    /// <exception cref="Graph.UserError">N is out of range.</exception>
    public static DpmSolverTable AdamsBashforth(FlowSchedule schedule, int steps, FlowSpacing spacing = FlowSpacing.Trained)
    {
        var t = schedule.Sigmas(steps, spacing);
        var rows = new MultistepRow[steps];
        for (var i = 0; i < steps; i++)
        {
            var dt = t[i + 1] - t[i];
            var r = i == 0 ? 0 : dt / (2 * (t[i] - t[i - 1]));
            rows[i] = new(schedule.Time(t[i]), 1, dt * (1 + r), -dt * r, 0, 1);
        }
        return new($"flow, Adams-Bashforth (second order), {steps} steps", rows, double.PositiveInfinity);
    }

    /// <summary>Takes one step.</summary>
    /// <param name="index">Which row, 0 to N-1, in order.</param>
    /// <param name="x">Current latent; receives the next one.</param>
    /// <param name="m">Model's output at x, guided; as long as x.</param>
    /// <param name="x0">The clean sample predicted in the step before (read from the second row on); receives this step's.</param>
    public void Step(int index, Span<float> x, ReadOnlySpan<float> m, Span<float> x0)
    {
        if (m.Length != x.Length || x0.Length != x.Length)
            throw new ArgumentException($"expected spans of one length, got {x.Length}, {m.Length} and {x0.Length}");
        var row = Rows[index];
        for (var i = 0; i < x.Length; i++)
        {
            var clean = Math.Clamp(row.X0X * x[i] + row.X0M * m[i], -ClipRange, ClipRange);
            var previous = index == 0 ? 0 : row.CPrevious * x0[i];
            x[i] = (float)(row.CX * x[i] + row.CX0 * clean + previous);
            x0[i] = (float)clean;
        }
    }

    // ln(a/s); infinite at both ends, which the formulas above take in their stride.
    private static double Lambda(double alphaBar) => 0.5 * Math.Log(alphaBar / (1 - alphaBar));
}
