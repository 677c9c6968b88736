using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>Options of <see cref="FlowTable"/>.</summary>
public sealed record FlowTableOptions
{
    /// <summary>N, 1 to T; default 10 (Flow-GRPO's training; it evaluates with 40).</summary>
    public int Steps { get; init; } = 10;

    /// <summary>How noise enters; default Flow-GRPO's.</summary>
    public FlowNoise Noise { get; init; } = FlowNoise.FlowGrpo;

    /// <summary>
    /// How much, &gt; 0; null for the default of the kind of noise (<see cref="FlowNoise"/>). Without noise it plays no part.
    /// </summary>
    public double? Level { get; init; }

    /// <summary>The steps that are noisy, within the first N-1; null for all of those.</summary>
    public NoiseWindow? Window { get; init; }

    /// <summary>How times are chosen; default as diffusers' scheduler chooses them.</summary>
    public FlowSpacing Spacing { get; init; } = FlowSpacing.Trained;

    /// <summary>The level in use.</summary>
    public double EffectiveLevel => Level ?? Noise switch
    {
        FlowNoise.Assumed => 0.1,
        FlowNoise.FlowGrpo => 0.7,
        FlowNoise.DanceGrpo => 0.3,
        FlowNoise.Cps => 0.6,
        _ => 0,
    };

    /// <summary>Checks all values but the steps, whose limit is the schedule's.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("flow sampler")
        .Expect(Level is null or > 0 and < double.PositiveInfinity, "noise level", "a number > 0, or noise none", Level ?? 0)
        .Expect(Noise != FlowNoise.Cps || Level is null or <= 1, "noise level of cps", "at most 1", Level ?? 0)
        .Expect(Window is not { } w || w.First >= 0 && w.Count >= 1 && w.First + w.Count < Steps,
            "noise window", $"steps among the first {Steps - 1} (the last has no noise)", Window ?? default)
        .Throw();
}

/// <summary>
/// Samplers of a flow as tables. With <c>dt = t' - t</c> below 0, where a step lands at t':
/// <list type="bullet">
/// <item>the flow's own equation <c>dx = v dt</c> (Euler): <c>mean = x + v*dt</c>, without noise or with an assumed deviation;</item>
/// <item>the equations with noise s and the same marginals (Flow-GRPO, DanceGRPO), which subtract what the noise adds by the score
/// <c>-(x + (1-t)*v)/t</c>: <c>mean = x*(1 + s^2*dt/(2t)) + v*(1 + s^2*(1-t)/(2t))*dt</c>, <c>sigma = s*sqrt(-dt)</c>;</item>
/// <item>coefficient-preserving steps: <c>mean = (1-t')*x0 + sqrt(t'^2 - sigma^2)*x1</c> with <c>x0 = x - t*v</c>, <c>x1 = x +
/// (1-t)*v</c>.</item>
/// </list>
/// </summary>
/// <remarks>
/// First step: at t = 1 Flow-GRPO's s is infinite; as in the published code the next time takes the place of t in its denominator, and only
/// there.
/// Last step: at t' = 0 the step is Euler's, which returns x0, without noise, whatever the kind; training leaves it out
/// (<see cref="SamplerTable.StepsWithDensity"/>), as the published codes do. Departure: those add noise to the image in that step, except
/// for
/// coefficient-preserving steps, where sigma is 0 by itself.
/// </remarks>
public static class FlowTable
{
    /// <summary>Builds the table.</summary>
    /// <param name="schedule">The flow's times.</param>
    /// <param name="options">Steps and noise.</param>
    /// <exception cref="UserError">An option is out of range.</exception>
    public static SamplerTable Build(FlowSchedule schedule, FlowTableOptions options)
    {
        options.Validate();
        var sigmas = schedule.Sigmas(options.Steps, options.Spacing);
        var window = options.Window ?? new(0, options.Steps);
        var rows = new GaussianStep[options.Steps];
        for (var i = 0; i < rows.Length; i++)
        {
            var (t, next) = (sigmas[i], sigmas[i + 1]);
            var noise = next > 0 && window.Contains(i) ? options.Noise : FlowNoise.None;
            rows[i] = Step(noise, options.EffectiveLevel, t, next) with { Time = schedule.Time(t) };
        }
        return new(Name(options), rows);
    }

    private static GaussianStep Step(FlowNoise noise, double level, double t, double next) => noise switch
    {
        FlowNoise.Assumed => new(0, 1, next - t, level * Math.Sqrt(t - next)),
        FlowNoise.FlowGrpo => Stochastic(t, next, level * Math.Sqrt(t / (1 - (t < 1 ? t : next)))),
        FlowNoise.DanceGrpo => Stochastic(t, next, level),
        FlowNoise.Cps => Preserving(t, next, next * Math.Sin(level * Math.PI / 2)),
        _ => new(0, 1, next - t, 0),
    };

    private static GaussianStep Stochastic(double t, double next, double s)
    {
        var (dt, half) = (next - t, s * s / (2 * t));
        return new(0, 1 + half * dt, (1 + half * (1 - t)) * dt, s * Math.Sqrt(-dt));
    }

    private static GaussianStep Preserving(double t, double next, double sigma)
    {
        // The difference can round to just below 0 where the level is 1.
        var (c0, c1) = (1 - next, Math.Sqrt(Math.Max(0, next * next - sigma * sigma)));
        return new(0, c0 + c1, (1 - t) * c1 - t * c0, sigma);
    }

    private static string Name(FlowTableOptions o)
    {
        var noise = o.Noise switch
        {
            FlowNoise.Assumed => "noisy Euler",
            FlowNoise.FlowGrpo => "Flow-GRPO SDE",
            FlowNoise.DanceGrpo => "DanceGRPO SDE",
            FlowNoise.Cps => "coefficient-preserving",
            _ => "Euler",
        };
        var level = o.Noise == FlowNoise.None ? "" : FormattableString.Invariant($", noise level {o.EffectiveLevel}");
        var window = o.Noise != FlowNoise.None && o.Window is { } w ? $" in steps {w.First} to {w.First + w.Count - 1}" : "";
        return $"flow, {noise}, {o.Steps} steps{level}{window}";
    }
}
