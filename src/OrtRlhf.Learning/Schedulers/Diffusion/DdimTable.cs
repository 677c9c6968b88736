using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// DDIM (Song et al. 2021) as a table. With alpha bars at (this step) and ap (where it lands):
/// <c>sigma = eta*sqrt((1-ap)/(1-at))*sqrt(1-at/ap)</c>, <c>mean = sqrt(ap)*x0 + sqrt(1-ap-sigma^2)*epsilon</c>,
/// with x0 and epsilon taken from the model's output. eta 0 is the deterministic sampler, eta 1 is ancestral (as DDPO uses).
/// </summary>
/// <remarks>
/// As in diffusers, the variance comes from the same two timesteps as the mean, and a step from t lands at <c>t - T/N</c>
/// (integer division), which below 0 means the final alpha bar. With final alpha bar 1 the last sigma is 0: that step is taken
/// when sampling and left out of training (<see cref="SamplerTable.StepsWithDensity"/>).
/// </remarks>
public static class DdimTable
{
    /// <summary>Builds the table.</summary>
    /// <param name="config">Schedule and prediction type.</param>
    /// <param name="steps">N, 1 to T.</param>
    /// <param name="eta">Noise of the steps, 0 to 1.</param>
    /// <param name="window">The steps with noise, the others being those of eta 0; null for all.</param>
    /// <exception cref="UserError">A value is out of range.</exception>
    public static SamplerTable Build(SchedulerConfig config, int steps, double eta, NoiseWindow? window = null)
    {
        if (!(eta is >= 0 and <= 1))
            throw new UserError($"scheduler (DDIM): eta: expected 0 to 1, got {eta}");
        if (window is { } given && !(given.First >= 0 && given.Count >= 1 && given.First + given.Count <= steps))
            throw new UserError(
                $"scheduler (DDIM): noise window: expected steps among the {steps} from 0, got {given.Count} from step {given.First}");
        var schedule = new NoiseSchedule(config);
        var timesteps = Timesteps.Of(config, steps);
        var rows = new GaussianStep[steps];
        var clips = config.ClipSample ? new X0Clip[steps] : null;
        for (var i = 0; i < steps; i++)
        {
            var t = timesteps[i];
            var previous = !config.StepsToNextTimestep ? t - config.TrainTimesteps / steps : i + 1 < steps ? timesteps[i + 1] : -1;
            var at = schedule.AlphaBar[(int)t];
            var ap = previous >= 0 ? schedule.AlphaBar[(int)previous] : schedule.FinalAlphaBar;
            var sigma = (window?.Contains(i) == false ? 0 : eta) * Math.Sqrt((1 - ap) / (1 - at)) * Math.Sqrt(Math.Max(0, 1 - at / ap));
            var prediction = LinearPrediction.At(at, config.Prediction);
            // The difference can round to just below 0 where the signal is zero and eta is 1.
            rows[i] = prediction.Step(t, Math.Sqrt(ap), Math.Sqrt(Math.Max(0, 1 - ap - sigma * sigma)), 0, sigma);
            if (clips is not null)
                clips[i] = new(prediction.X0X, prediction.X0M, Math.Sqrt(ap), config.ClipSampleRange);
        }
        var noisy = window is { } w ? $" in steps {w.First} to {w.First + w.Count - 1}" : "";
        return new($"DDIM, {steps} steps, eta {eta}{noisy}", rows, clips);
    }
}
