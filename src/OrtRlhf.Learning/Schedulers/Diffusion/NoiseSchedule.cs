using System.Numerics.Tensors;
using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The forward process <c>x_t = a_t*x0 + s_t*noise</c> with <c>a_t = sqrt(alphaBar_t)</c>, <c>s_t = sqrt(1 - alphaBar_t)</c>
/// and <c>alphaBar_t = prod_(i&lt;=t) (1 - beta_i)</c>, all in double. (diffusers holds them in float: its values differ by up
/// to 1e-6 relative.)
/// </summary>
public sealed class NoiseSchedule
{
    private readonly double[] alphaBar;

    /// <summary>Computes the schedule of a config.</summary>
    /// <exception cref="UserError">The config is out of range.</exception>
    public NoiseSchedule(SchedulerConfig config)
    {
        config.Validate();
        Config = config;
        alphaBar = new double[config.TrainTimesteps];
        var product = 1.0;
        for (var t = 0; t < alphaBar.Length; t++)
            alphaBar[t] = product *= 1 - Beta(config, t);
        if (config.RescaleBetasZeroSnr)
            RescaleToZeroTerminalSnr(alphaBar);
        FinalAlphaBar = config.SetAlphaToOne ? 1 : alphaBar[0];
    }

    /// <summary>The config the schedule was made from.</summary>
    public SchedulerConfig Config { get; }

    /// <summary>T, the number of training timesteps.</summary>
    public int Length => alphaBar.Length;

    /// <summary>alphaBar_t of every timestep, falling from about 1 to about 0.</summary>
    public ReadOnlySpan<double> AlphaBar => alphaBar;

    /// <summary>alphaBar after the last step: 1, or alphaBar_0 when set_alpha_to_one is false.</summary>
    public double FinalAlphaBar { get; }

    /// <summary>a_t, the weight of the clean sample.</summary>
    public double Signal(long timestep) => Math.Sqrt(alphaBar[timestep]);

    /// <summary>s_t, the weight of the noise.</summary>
    public double Noise(long timestep) => Math.Sqrt(1 - alphaBar[timestep]);

    /// <summary>
    /// alphaBar_t / (1 - alphaBar_t), the signal-to-noise ratio by which losses are weighted; infinite where alphaBar is 1.
    /// </summary>
    public double Snr(long timestep) => alphaBar[timestep] / (1 - alphaBar[timestep]);

    /// <summary>Writes <c>x_t = a_t*x0 + s_t*noise</c>.</summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">Standard normal numbers, as long as x0.</param>
    /// <param name="timestep">0 to T-1.</param>
    /// <param name="destination">Receives x_t; as long as x0, may be x0 or noise itself.</param>
    public void AddNoise(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, long timestep, Span<float> destination) =>
        Combine((float)Signal(timestep), x0, (float)Noise(timestep), noise, destination);

    /// <summary>
    /// Writes what the denoiser should predict at x_t: the noise (epsilon), <c>a_t*noise - s_t*x0</c> (velocity) or x0 (sample).
    /// </summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">The noise that was added, as long as x0.</param>
    /// <param name="timestep">0 to T-1.</param>
    /// <param name="destination">Receives the target; as long as x0, may be x0 or noise itself.</param>
    public void Target(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, long timestep, Span<float> destination)
    {
        var (cX0, cNoise) = Config.Prediction switch
        {
            PredictionType.Epsilon => (0, 1),
            PredictionType.Velocity => (-Noise(timestep), Signal(timestep)),
            _ => (1.0, 0.0),
        };
        if (cX0 == 0)
            noise.CopyTo(destination);
        else if (cNoise == 0)
            x0.CopyTo(destination);
        else
            Combine((float)cX0, x0, (float)cNoise, noise, destination);
    }

    /// <summary>Writes <c>a*x + b*y</c>; the destination may be x or y itself.</summary>
    internal static void Combine(float a, ReadOnlySpan<float> x, float b, ReadOnlySpan<float> y, Span<float> destination)
    {
        if (x.Length != y.Length || x.Length != destination.Length)
            throw new ArgumentException($"expected spans of one length, got {x.Length}, {y.Length} and {destination.Length}");
        // Block by block through a small buffer, so that the destination may be either operand.
        Span<float> scaled = stackalloc float[512];
        for (var i = 0; i < x.Length; i += scaled.Length)
        {
            var n = Math.Min(scaled.Length, x.Length - i);
            TensorPrimitives.Multiply(y.Slice(i, n), b, scaled[..n]);
            TensorPrimitives.MultiplyAdd(x.Slice(i, n), a, scaled[..n], destination.Slice(i, n));
        }
    }

    private static double Beta(SchedulerConfig config, int t)
    {
        if (config.TrainedBetas is { } betas)
            return betas[t];
        var (start, end) = (config.BetaStart, config.BetaEnd);
        var u = t / (config.TrainTimesteps - 1.0);
        return config.Betas switch
        {
            BetaSchedule.Linear => start + u * (end - start),
            BetaSchedule.ScaledLinear => Square(Math.Sqrt(start) + u * (Math.Sqrt(end) - Math.Sqrt(start))),
            BetaSchedule.Sigmoid => start + (end - start) / (1 + Math.Exp(6 - 12 * u)),
            _ => Math.Min(1 - Cosine((t + 1.0) / config.TrainTimesteps) / Cosine((double)t / config.TrainTimesteps), 0.999),
        };
    }

    private static double Cosine(double u) => Square(Math.Cos((u + 0.008) / 1.008 * Math.PI / 2));

    private static double Square(double x) => x * x;

    // Shifts and scales sqrt(alphaBar) so that its first value stays and its last is 0 (Lin et al. 2023, algorithm 1).
    private static void RescaleToZeroTerminalSnr(double[] alphaBar)
    {
        var (first, last) = (Math.Sqrt(alphaBar[0]), Math.Sqrt(alphaBar[^1]));
        for (var t = 0; t < alphaBar.Length; t++)
            alphaBar[t] = Square((Math.Sqrt(alphaBar[t]) - last) * first / (first - last));
        alphaBar[^1] = 0;
    }
}
