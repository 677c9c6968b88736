using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Which steps of a trajectory are noisy and trained on.</summary>
internal static class TrainedSteps
{
    /// <summary>A share of the steps with a density of a trajectory, drawn anew each epoch.</summary>
    /// <param name="trajectory">Whose steps.</param>
    /// <param name="fraction">The share, (0, 1].</param>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="epoch">The epoch.</param>
    public static IEnumerable<int> Of(Trajectory trajectory, double fraction, ulong seed, int epoch)
    {
        var steps = trajectory.Table!.StepsWithDensity;
        var count = (int)Math.Max(1, Math.Round(fraction * steps.Count));
        if (count == steps.Count) return steps;
        var shuffled = steps.ToArray();
        new Philox(seed, (uint)epoch, trajectory.Request.Sample, RandomStep.Timesteps).Shuffle<int>(shuffled);
        return shuffled.Take(count).Order();
    }

    /// <summary>
    /// The pipeline with a few noisy steps among deterministic ones, which slide from noise to image as epochs pass (MixGRPO); with 0 as it
    /// is.
    /// </summary>
    public static Pipeline Window(Pipeline pipeline, SamplingOptions sampling, int epoch, int window, int interval) =>
        window == 0 ? pipeline
        : pipeline.With(sampling with { NoiseWindow = NoiseWindow.Slide(epoch - 1, sampling.Steps, window, interval) });

    /// <summary>A window as wide as asked, but no wider than the steps allow; none for a sampler whose steps are all noisy.</summary>
    public static int WidestWindow(SamplingOptions sampling, int wanted) =>
        sampling.Sampler == SamplerKind.Ddpm ? 0 : Math.Min(wanted, Math.Max(0, sampling.Steps - 1));

    /// <summary>Faults of a window.</summary>
    public static IEnumerable<string> Faults(int? window, SamplingOptions sampling)
    {
        if (window < 0 || window >= sampling.Steps) yield return $"`NoiseWindow`: expected 0, or fewer than the {sampling.Steps} steps, "
            + $"got {window}";
    }
}
