namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The forward process at one time, of diffusion models and flows alike: <c>x_t = a*x0 + s*noise</c>, and what the model should predict
/// there,
/// <c>target = b0*x0 + b1*noise</c>. What preference losses, supervised training and DiffusionNFT are trained with.
/// </summary>
/// <param name="Time">Where the model is evaluated, as in <see cref="GaussianStep"/>.</param>
/// <param name="Signal">a.</param>
/// <param name="Noise">s.</param>
/// <param name="TargetX0">b0.</param>
/// <param name="TargetNoise">b1.</param>
public readonly record struct ForwardStep(double Time, double Signal, double Noise, double TargetX0, double TargetNoise)
{
    /// <summary>
    /// Of a diffusion model: <c>a = sqrt(alphaBar)</c>, <c>s = sqrt(1 - alphaBar)</c>; epsilon, <c>a*noise - s*x0</c> or x0 as it predicts.
    /// </summary>
    /// <param name="schedule">Its noise schedule.</param>
    /// <param name="timestep">0 to T-1.</param>
    public static ForwardStep Of(NoiseSchedule schedule, long timestep)
    {
        var (a, s) = (schedule.Signal(timestep), schedule.Noise(timestep));
        return schedule.Config.Prediction switch
        {
            PredictionType.Epsilon => new(timestep, a, s, 0, 1),
            PredictionType.Velocity => new(timestep, a, s, -s, a),
            _ => new(timestep, a, s, 1, 0),
        };
    }

    /// <summary>Of a flow: <c>x_t = (1-t)*x0 + t*noise</c>, <c>target = noise - x0</c>.</summary>
    /// <param name="schedule">Its schedule.</param>
    /// <param name="t">0 to 1.</param>
    public static ForwardStep Of(FlowSchedule schedule, double t) => new(schedule.Time(t), 1 - t, t, -1, 1);

    /// <summary>
    /// Size of the clean sample's error by the output's: <c>x0 = (b1*x_t - s*m)/(a*b1 - s*b0)</c>, so <c>|s/(a*b1 - s*b0)|</c>. t of a
    /// flow, s of a velocity, s/a of
    /// epsilon; 1 where the model predicts the clean sample.
    /// </summary>
    public double ErrorScale => TargetNoise == 0 ? 1 / Math.Abs(TargetX0) : Noise / Math.Abs(Signal * TargetNoise - Noise * TargetX0);

    /// <summary>Writes x_t.</summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">Standard normal numbers, as long as x0.</param>
    /// <param name="destination">Receives x_t; as long as x0, may be x0 or noise itself.</param>
    public void AddNoise(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> destination) =>
        NoiseSchedule.Combine((float)Signal, x0, (float)Noise, noise, destination);

    /// <summary>Writes the target.</summary>
    /// <param name="x0">Clean sample.</param>
    /// <param name="noise">The noise that was added, as long as x0.</param>
    /// <param name="destination">Receives the target; as long as x0, may be x0 or noise itself.</param>
    public void Target(ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> destination) =>
        NoiseSchedule.Combine((float)TargetX0, x0, (float)TargetNoise, noise, destination);
}
