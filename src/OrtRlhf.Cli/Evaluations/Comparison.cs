using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Evaluations;

/// <summary>One quantity of the base model and of an adapter, on the same prompts and noise.</summary>
/// <param name="Base">The base model.</param>
/// <param name="Adapter">The adapter; null without one.</param>
/// <param name="Difference">Adapter less base, image by image: its standard error is smaller than that of two independent means.</param>
/// <param name="WinRate">Share of the images that score higher than the base model's of the same prompt and seed, ties half; null without
/// an adapter.</param>
internal sealed record Compared(MeanEstimate Base, MeanEstimate? Adapter, MeanEstimate? Difference, MeanEstimate? WinRate = null);

/// <summary>What eval finds out; as JSON, what scripts read.</summary>
internal sealed record Comparison
{
    /// <summary>The reward that is told by kind of prompt, too.</summary>
    public const string Accuracy = "prompt-accuracy";

    /// <summary>The model's folder.</summary>
    public string Model { get; init; } = "";

    /// <summary>The adapter's file; null for the base model alone.</summary>
    public string? Adapter { get; init; }

    /// <summary>Sampler and its settings.</summary>
    public string Sampler { get; init; } = "";

    /// <summary>Classifier-free guidance.</summary>
    public double GuidanceScale { get; init; }

    /// <summary>Seed of the first image.</summary>
    public ulong Seed { get; init; }

    /// <summary>Images of each.</summary>
    public required int Images { get; init; }

    /// <summary>Different prompts among them.</summary>
    public required int Prompts { get; init; }

    /// <summary>Each reward by its expression.</summary>
    public required IReadOnlyDictionary<string, Compared> Rewards { get; init; }

    /// <summary>prompt-accuracy by kind of prompt; empty when it was not scored.</summary>
    public required IReadOnlyDictionary<string, Compared> AccuracyByKind { get; init; }

    /// <summary>
    /// GenEval in small: share of right images by task, and <c>overall</c>, the mean of the tasks; empty where the prompts are no captions
    /// of drawn scenes.
    /// </summary>
    public required IReadOnlyDictionary<string, Compared> GenEval { get; init; }

    /// <summary>KL of the adapter to the base model in nats per element, mean over transitions; null without noise or adapter.</summary>
    public double? Kl { get; init; }

    /// <summary>Diversity of the base model's images, 0 to 1; null when no prompt was drawn twice.</summary>
    public double? DiversityBase { get; init; }

    /// <summary>Diversity of the adapter's images.</summary>
    public double? DiversityAdapter { get; init; }

    /// <summary>Compares two evaluations of the same requests.</summary>
    /// <param name="rewards">What was scored.</param>
    /// <param name="bare">The base model.</param>
    /// <param name="tuned">The adapter, or null.</param>
    public static Comparison Of(RewardSet rewards, EvaluationResult bare, EvaluationResult? tuned)
    {
        var byKind = new SortedDictionary<SceneKind, Compared>();
        if (bare.Rewards.TryGetValue(Accuracy, out var correct))
        {
            foreach (var kind in bare.Images.Select((image, i) => (SceneCaption.Parse(image.Prompt)!.Kind, Index: i)).GroupBy(entry =>
                entry.Kind, entry => entry.Index))
                byKind[kind.Key] = Compare([.. kind.Select(i => correct[i])], tuned is null ? null
                    : [.. kind.Select(i => tuned.Rewards[Accuracy][i])]);
        }
        return new()
        {
            Images = bare.Total.Length,
            Prompts = bare.Images.Select(image => image.Prompt).Distinct().Count(),
            Rewards = rewards.Sums.ToDictionary(sum => sum.Name, sum =>
                Compare(RewardSet.Total(sum, bare.Rewards), tuned is null ? null : RewardSet.Total(sum, tuned.Rewards))),
            AccuracyByKind = byKind.ToDictionary(entry => EnumName.Write(entry.Key), entry => entry.Value),
            GenEval = Tasks(bare.Tasks, tuned?.Tasks),
            Kl = tuned?.Kl,
            DiversityBase = bare.Diversity,
            DiversityAdapter = tuned?.Diversity,
        };
    }

    private static Dictionary<string, Compared> Tasks(IReadOnlyDictionary<string, float[]> bare,
        IReadOnlyDictionary<string, float[]>? tuned)
    {
        var (left, right) = (SceneTasks.Estimates(bare), tuned is null ? null : SceneTasks.Estimates(tuned));
        var difference = tuned is null ? null
            : SceneTasks.Estimates(bare.ToDictionary(task => task.Key, task => tuned[task.Key].Zip(task.Value, (a, b) => a - b).ToArray()));
        return left.ToDictionary(task => task.Key, task => new Compared(task.Value, right?[task.Key], difference?[task.Key]));
    }

    private static Compared Compare(float[] bare, float[]? tuned)
    {
        if (tuned is null) return new(MeanEstimate.Of(bare), null, null);
        var both = BeforeAfter.Of(bare, tuned);
        return new(both.Before, both.After, both.Change, both.WinRate);
    }
}
