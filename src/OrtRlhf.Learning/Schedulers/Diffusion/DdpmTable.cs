namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// Ancestral DDPM sampling (Ho et al. 2020) as a table. With alpha bars at and ap of this timestep and the table's next, and
/// <c>alpha = at/ap</c>, <c>beta = 1 - alpha</c>:
/// <c>mean = sqrt(ap)*beta/(1-at)*x0 + sqrt(alpha)*(1-ap)/(1-at)*x</c>; the variance is
/// <c>(1-ap)/(1-at)*beta</c> (fixed_small) or <c>beta</c> (fixed_large), and 0 in a step from timestep 0.
/// </summary>
public static class DdpmTable
{
    /// <summary>Builds the table.</summary>
    /// <param name="config">Schedule, prediction type and variance type.</param>
    /// <param name="steps">N, 1 to T.</param>
    /// <exception cref="Graph.UserError">A value is out of range.</exception>
    public static SamplerTable Build(SchedulerConfig config, int steps)
    {
        var schedule = new NoiseSchedule(config);
        var timesteps = Timesteps.Of(config, steps);
        var rows = new GaussianStep[steps];
        var clips = config.ClipSample ? new X0Clip[steps] : null;
        for (var i = 0; i < steps; i++)
        {
            var t = timesteps[i];
            var at = schedule.AlphaBar[(int)t];
            var ap = i + 1 < steps ? schedule.AlphaBar[(int)timesteps[i + 1]] : 1;
            var (alpha, beta) = (at / ap, 1 - at / ap);
            var cX0 = Math.Sqrt(ap) * beta / (1 - at);
            var variance = config.Variance == VarianceType.FixedLarge ? beta : Math.Max(1e-20, (1 - ap) / (1 - at) * beta);
            var prediction = LinearPrediction.At(at, config.Prediction);
            rows[i] = prediction.Step(t, cX0, 0, Math.Sqrt(alpha) * (1 - ap) / (1 - at), t > 0 ? Math.Sqrt(variance) : 0);
            if (clips is not null)
                clips[i] = new(prediction.X0X, prediction.X0M, cX0, config.ClipSampleRange);
        }
        return new($"DDPM, {steps} steps", rows, clips);
    }
}
