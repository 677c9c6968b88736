using System.Text.Json.Serialization;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning.Statistics;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>A run in numbers: summary.json, which scripts rely on. Write and read it with <see cref="JsonFile"/>.</summary>
public sealed record RunSummary
{
    /// <summary>The model tuned, as it was given.</summary>
    public required string Model { get; init; }

    /// <summary>The method, "ddpo" for instance.</summary>
    public required string Method { get; init; }

    /// <summary>The seed.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Images scored for training.</summary>
    public required long Images { get; init; }

    /// <summary>Seconds from start to end, over all resumptions.</summary>
    public required double Seconds { get; init; }

    /// <summary>The trained reward on held-out prompts and seeds.</summary>
    public required RewardSummary Reward { get; init; }

    /// <summary>Every part of the reward, and rewards watched but not trained on, on the same images, by name.</summary>
    public required IReadOnlyDictionary<string, BeforeAfter> Rewards { get; init; }

    /// <summary>
    /// GenEval in small: share of right images by task, and <c>overall</c>, the mean of the tasks; null where the held-out prompts are no
    /// captions of drawn scenes.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyDictionary<string, BeforeAfter>? GenEval { get; init; }

    /// <summary>The importance ratio; null for methods without one.</summary>
    public RatioSummary? Ratio { get; init; }

    /// <summary>KL to the base model in nats, on the held-out samples; null when it was not measured.</summary>
    public double? Kl { get; init; }

    /// <summary>The process's largest resident memory.</summary>
    public required long PeakMemoryBytes { get; init; }
}

/// <summary>The trained reward before and after.</summary>
/// <param name="Name">The expression.</param>
/// <param name="Before">The base model.</param>
/// <param name="After">The tuned model on the same prompts and seeds.</param>
/// <param name="Change">See <see cref="BeforeAfter"/>.</param>
public sealed record RewardSummary(string Name, MeanEstimate Before, MeanEstimate After, MeanEstimate? Change = null)
    : BeforeAfter(Before, After, Change)
{
    /// <summary>The estimates from the scores of the same images before and after.</summary>
    public static RewardSummary Of(string name, float[] before, float[] after) =>
        new(name, MeanEstimate.Of(before), MeanEstimate.Of(after), Differences(before, after)) { WinRate = Wins(before, after) };
}

/// <summary>One quantity before and after tuning.</summary>
/// <param name="Before">The base model.</param>
/// <param name="After">The tuned model on the same prompts and seeds.</param>
/// <param name="Change">Mean and standard error of after - before, taken image by image (a paired difference); null in summaries of earlier
/// versions.</param>
public record BeforeAfter(
    MeanEstimate Before, MeanEstimate After,
        [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] MeanEstimate? Change = null)
{
    /// <summary>The estimates from the scores of the same images before and after.</summary>
    public static BeforeAfter Of(float[] before, float[] after) =>
        new(MeanEstimate.Of(before), MeanEstimate.Of(after), Differences(before, after)) { WinRate = Wins(before, after) };

    /// <summary>
    /// Share of the images, 0 to 1, that score higher than the base model's of the same prompt and seed, ties half; null in summaries of
    /// earlier versions.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public MeanEstimate? WinRate { get; init; }

    /// <summary>
    /// The change in standard errors: that of the paired difference, else <c>sqrt(se1^2 + se2^2)</c>. 0 when nothing changed, infinite
    /// without any spread.
    /// </summary>
    [JsonIgnore]
    public double StandardErrors
    {
        get
        {
            var difference = After.Mean - Before.Mean;
            return difference == 0 ? 0
                : difference / (Change?.Stderr ?? Math.Sqrt((Before.Stderr * Before.Stderr) + (After.Stderr * After.Stderr)));
        }
    }

    /// <summary>See <see cref="WinRate"/>.</summary>
    protected static MeanEstimate Wins(float[] before, float[] after) =>
        MeanEstimate.Of([.. after.Zip(before, (a, b) => a > b ? 1 : a == b ? 0.5f : 0)]);

    /// <summary>The paired difference.</summary>
    protected static MeanEstimate Differences(float[] before, float[] after) => MeanEstimate.Of([.. after.Zip(before, (a, b) => a - b)]);
}

/// <summary>How far the importance ratio was from 1 where it must be 1.</summary>
/// <param name="FirstMaxDeviation">Largest |ratio - 1| of all first passes over fresh samples.</param>
public sealed record RatioSummary(double FirstMaxDeviation);
