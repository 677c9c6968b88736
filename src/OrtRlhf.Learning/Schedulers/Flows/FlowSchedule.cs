using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// Times and forward process of flow matching (Lipman et al. 2023, Liu et al. 2023; Esser et al. 2024): <c>x_t = (1-t)*x0 + t*noise</c>, t
/// from 1
/// (noise) to 0 (image), which diffusers calls sigma; the model predicts the velocity <c>v = noise - x0</c>.
/// </summary>
public sealed class FlowSchedule
{
    private readonly Func<double, double> shift;

    /// <summary>The schedule of a config.</summary>
    /// <param name="config">Shift and T.</param>
    /// <param name="tokens">Image tokens, latent height times width over the patch's area; only a dynamic shift needs them.</param>
    /// <exception cref="UserError">The config is out of range, or the tokens are missing.</exception>
    public FlowSchedule(FlowSchedulerConfig config, int tokens = 0)
    {
        config.Validate();
        if (config.UseDynamicShifting && tokens < 1)
            throw new UserError(
                $"scheduler ({config.ClassName}): use_dynamic_shifting needs the image's size, expected 1 or more tokens, got {tokens}");
        Config = config;
        var k = config.Shift;
        if (config.UseDynamicShifting)
            k = config.TimeShift == FlowTimeShift.Linear ? config.Mu(tokens) : Math.Exp(config.Mu(tokens));
        if (!(k > 0 && double.IsFinite(k)))
            throw new UserError($"scheduler ({config.ClassName}): the shift of {tokens} tokens: expected a number > 0, got {k}; correct "
                + $"base_shift and max_shift");
        shift = t => k * t / (1 + (k - 1) * t);
    }

    /// <summary>The config the schedule was made from.</summary>
    public FlowSchedulerConfig Config { get; }

    /// <summary>The shift: all forms are <c>k*t/(1 + (k-1)*t)</c> with their own k.</summary>
    /// <param name="t">0 to 1.</param>
    /// <returns>0 to 1; both ends stay.</returns>
    public double Shift(double t) => shift(t);

    /// <summary>What the model takes as its timestep, <c>T*t</c>.</summary>
    public double Time(double t) => Config.TrainTimesteps * t;

    /// <summary>The times of N steps, as diffusers computes them (its floats differ by up to 1e-7).</summary>
    /// <param name="steps">N, 1 to T.</param>
    /// <param name="spacing">How they are chosen.</param>
    /// <returns>N + 1 falling times, the first 1, the last 0.</returns>
    /// <exception cref="UserError">N is out of range, or the shift so large that times round to 1.</exception>
    public double[] Sigmas(int steps, FlowSpacing spacing = FlowSpacing.Trained)
    {
        if (steps < 1 || steps > Config.TrainTimesteps)
            throw new UserError($"scheduler ({Config.ClassName}): steps: expected 1 to {Config.TrainTimesteps}, got {steps}");
        // The smallest time of training: diffusers has shifted it already when the shift is static, and shifts it again below.
        var least = 1.0 / Config.TrainTimesteps;
        if (!Config.UseDynamicShifting)
            least = shift(least);
        var sigmas = new double[steps + 1];
        for (var i = 0; i < steps; i++)
            sigmas[i] = shift(spacing == FlowSpacing.Even ? 1 - (double)i / steps : i == 0 ? 1 : 1 - i * (1 - least) / (steps - 1));
        if (steps > 1 && !(sigmas[1] < 1))
            throw new UserError(
                $"scheduler ({Config.ClassName}): shift: expected one that keeps the times apart, got one that rounds them to 1");
        if (Config.ShiftTerminal > 0 && steps > 1)
        {
            var stretch = (1 - Config.ShiftTerminal) / (1 - sigmas[steps - 1]);
            for (var i = 1; i < steps; i++)
                sigmas[i] = 1 - stretch * (1 - sigmas[i]);
        }
        if (Config.Curve != FlowCurve.None && steps > 1)
        {
            var last = sigmas[steps - 1];
            for (var i = 1; i < steps; i++)
                sigmas[i] = FlowCurves.At(Config.Curve, (double)i / (steps - 1), last);
        }
        return sigmas;
    }

    /// <summary>Writes <c>x_t = (1-t)*x0 + t*noise</c>.</summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">Standard normal numbers, as long as x0.</param>
    /// <param name="t">0 to 1.</param>
    /// <param name="destination">Receives x_t; as long as x0, may be x0 or noise itself.</param>
    public static void AddNoise(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, double t, Span<float> destination) =>
        NoiseSchedule.Combine((float)(1 - t), x0, (float)t, noise, destination);

    /// <summary>Writes the velocity <c>noise - x0</c>, what the model should predict.</summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">The noise that was added, as long as x0.</param>
    /// <param name="destination">Receives the target; as long as x0, may be x0 or noise itself.</param>
    public static void Target(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> destination) =>
        NoiseSchedule.Combine(-1, x0, 1, noise, destination);
}
