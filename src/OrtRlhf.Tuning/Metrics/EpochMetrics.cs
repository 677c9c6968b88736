using OrtRlhf.Learning.Statistics;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>
/// One epoch of a run: one line of metrics.jsonl, one point of every curve. Holds nothing that differs between two runs of one
/// seed (no time, no memory); those are in <see cref="EpochTiming"/>. Values that a method does not have are null.
/// </summary>
public sealed record EpochMetrics
{
    /// <summary>The epoch, from 1.</summary>
    public required int Epoch { get; init; }

    /// <summary>Images scored for training since the run began.</summary>
    public required long Images { get; init; }

    /// <summary>The trained reward over this epoch's images.</summary>
    public required RewardSpread Reward { get; init; }

    /// <summary>Mean of every part of the reward, and of every watched reward, by name; written in this order.</summary>
    public IReadOnlyDictionary<string, double> Rewards { get; init; } = new Dictionary<string, double>();

    /// <summary>The loss, mean over the epoch's micro-batches.</summary>
    public double? Loss { get; init; }

    /// <summary>KL of the policy to the base model in nats, mean over transitions.</summary>
    public double? Kl { get; init; }

    /// <summary>The largest |ratio - 1| in the first pass over fresh samples; 0 in theory.</summary>
    public double? RatioFirstMaxDeviation { get; init; }

    /// <summary>Share of transitions whose ratio was clipped, in [0,1].</summary>
    public double? ClipFraction { get; init; }

    /// <summary>Gradient norm before clipping, mean over updates.</summary>
    public double? GradientNorm { get; init; }

    /// <summary>Learning rate of the epoch's last update.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Difference between images of one prompt, see <see cref="OrtRlhf.Rewards.ImageDiversity"/>.</summary>
    public double? Diversity { get; init; }

    /// <summary>What else a method reports, by name (camelCase); written in this order.</summary>
    public IReadOnlyDictionary<string, double>? Other { get; init; }
}

/// <summary>One epoch's cost: one line of timings.jsonl.</summary>
/// <param name="Epoch">The epoch, from 1.</param>
/// <param name="Finished">When it ended, UTC.</param>
/// <param name="SampleSeconds">Seconds spent sampling images.</param>
/// <param name="ScoreSeconds">Seconds spent on rewards.</param>
/// <param name="UpdateSeconds">Seconds spent on gradients and updates.</param>
/// <param name="TotalSeconds">Seconds of the whole epoch.</param>
/// <param name="PeakMemoryBytes">The process's largest resident memory so far.</param>
public sealed record EpochTiming(
    int Epoch, DateTimeOffset Finished, double SampleSeconds, double ScoreSeconds, double UpdateSeconds, double TotalSeconds,
        long PeakMemoryBytes);

/// <summary>How scores are spread.</summary>
/// <param name="Mean">Mean.</param>
/// <param name="Stddev">Unbiased standard deviation; 0 for one score.</param>
/// <param name="Min">Smallest.</param>
/// <param name="Max">Largest.</param>
/// <param name="N">How many.</param>
public sealed record RewardSpread(double Mean, double Stddev, double Min, double Max, int N)
{
    /// <summary>The spread of some scores, summed in double in their order.</summary>
    /// <param name="scores">At least one.</param>
    public static RewardSpread Of(ReadOnlySpan<float> scores)
    {
        var estimate = MeanEstimate.Of(scores);
        var (min, max) = (scores[0], scores[0]);
        foreach (var score in scores) (min, max) = (Math.Min(min, score), Math.Max(max, score));
        return new RewardSpread(estimate.Mean, estimate.Stderr * Math.Sqrt(scores.Length), min, max, scores.Length);
    }
}
