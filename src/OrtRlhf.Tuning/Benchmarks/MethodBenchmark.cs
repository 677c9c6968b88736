using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>Images a second of DDPO, the first epoch left out.</summary>
/// <param name="Sampling">Denoising, decoding and scoring.</param>
/// <param name="Training">Forward and backward passes and updates.</param>
/// <param name="Overall">Whole epochs, with all that a run does besides, such as checkpoints.</param>
/// <param name="PeakMb">Most resident memory of the process in MB (1e6 bytes).</param>
/// <param name="RatioFirstMaxDeviation">The largest |ratio - 1| in the first pass over fresh samples; not a number for methods without
/// one.</param>
public sealed record MethodTiming(double Sampling, double Training, double Overall, double PeakMb, double RatioFirstMaxDeviation);

/// <summary>
/// Times a run of a method as <c>tune</c> does it, on jpeg-compressibility, policy gradients on all steps, else at the method's defaults.
/// </summary>
public static class MethodBenchmark
{
    /// <summary>Runs in a temporary folder, which is deleted.</summary>
    /// <param name="method">The method.</param>
    /// <param name="model">Folder of the model.</param>
    /// <param name="epochs">Epochs, at least 2.</param>
    /// <param name="images">Images an epoch.</param>
    /// <param name="settings">Device and threads.</param>
    /// <param name="cancellation">Stops the run.</param>
    /// <exception cref="UserError">As <see cref="TuningRun.Execute"/>.</exception>
    public static MethodTiming Run(TuningMethod method, string model, int epochs, int images, SessionSettings settings,
        CancellationToken cancellation = default)
    {
        var folder = Directory.CreateTempSubdirectory("ortrlhf-bench-").FullName;
        try
        {
            var defaults = method.New();
            var options = defaults with
            {
                Model = model,
                Reward = "jpeg-compressibility",
                Watch = [],
                Output = Path.Combine(folder, "run"),
                Epochs = Math.Max(2, epochs),
                Images = images,
                PromptsPerEpoch = defaults.PromptsFor(images),
                EvaluationImages = 2,
                SamplesEvery = 0,
                SampleImages = 1,
                Session = settings,
            };
            if (options is PolicyGradientOptions steps) options = steps with { NoiseWindow = 0 };
            TuningRun.Execute(options, new TuningEnvironment { OpenModel = ImageModel.Open }, cancellation);
            var run = new RunFolder(options.Output);
            var timed = JsonLines<EpochTiming>.Read(run.Timings).Skip(1).ToArray();
            double Rate(Func<EpochTiming, double> seconds) => (double)images * timed.Length / timed.Sum(seconds);
            return new MethodTiming(
                Rate(t => t.SampleSeconds + t.ScoreSeconds), Rate(t => t.UpdateSeconds), Rate(t => t.TotalSeconds),
                Math.Round(timed.Max(t => t.PeakMemoryBytes) / 1e6),
                    JsonLines<EpochMetrics>.Read(run.Metrics).Max(m => m.RatioFirstMaxDeviation) ?? double.NaN);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
