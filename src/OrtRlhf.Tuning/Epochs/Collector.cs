using System.Diagnostics;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Rewards;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>Seconds that an epoch's stages took.</summary>
internal sealed class EpochClock
{
    private readonly Dictionary<TuningStage, double> seconds = [];

    public double this[TuningStage stage] => seconds.GetValueOrDefault(stage);

    public T Time<T>(TuningStage stage, Func<T> work)
    {
        var start = Stopwatch.GetTimestamp();
        try
        {
            return work();
        }
        finally
        {
            seconds[stage] = this[stage] + Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
    }
}

/// <summary>Images of an epoch with their scores.</summary>
internal sealed record Collected(SampledImage[] Images, RewardScores Scores)
{
    public IReadOnlyDictionary<string, double> Means() =>
        Scores.Parts.ToDictionary(part => part.Key, part => MeanEstimate.Of(part.Value).Mean);
}

/// <summary>Samples and scores the images of an epoch.</summary>
internal static class Collector
{
    /// <summary>
    /// What to sample: <paramref name="prompts"/> draws of the epoch, each for an equal run of the <paramref name="images"/>.
    /// </summary>
    public static SampleRequest[] Requests(TuningParts parts, int epoch, int images, int prompts)
    {
        var (seed, e) = (parts.Options.Seed, (uint)epoch);
        var each = images / prompts;
        return [.. Enumerable.Range(0, images).Select(i => new SampleRequest(
            parts.Prompts.Draw(seed, e, (uint)(i / each)), seed, e, (uint)i, parts.Options.SharedInitialNoise ? (uint)(i / each * each)
                : null))];
    }

    /// <summary>Samples and scores.</summary>
    /// <param name="parts">The run.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="requests">What to sample.</param>
    /// <param name="done">Images of the epoch before these, for progress.</param>
    /// <param name="clock">Takes the time.</param>
    /// <param name="cancellation">Stops.</param>
    /// <param name="pipeline">The sampler; null for that of the run.</param>
    /// <param name="keepSteps">Whether the images' steps are trained on, and not the images alone.</param>
    public static Collected Run(
        TuningParts parts, int epoch, SampleRequest[] requests, int done, EpochClock clock, CancellationToken cancellation,
            Pipeline? pipeline = null, bool keepSteps = true)
    {
        var total = parts.Options.Images;
        var images = clock.Time(TuningStage.Sampling, () => (pipeline ?? parts.Pipeline).Sample(requests, n =>
            parts.Report(TuningStage.Sampling, epoch, done + n, total), keepSteps, cancellation));
        parts.Report(TuningStage.Scoring, epoch, done, total);
        var inputs = images.Select((image, i) => new RewardInput(image.Image, image.Prompt, done + i)).ToArray();
        return new Collected(images, clock.Time(TuningStage.Scoring, () => parts.Reward.ScoreParts(inputs, cancellation)));
    }
}
