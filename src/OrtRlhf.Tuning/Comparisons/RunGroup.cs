using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Comparisons;

/// <summary>A quantity on held-out images over the runs of a group: mean and standard deviation over runs.</summary>
/// <param name="Before">The base model.</param>
/// <param name="After">The tuned model.</param>
/// <param name="Change">Their difference, run by run.</param>
public sealed record SpreadBeforeAfter(RewardSpread Before, RewardSpread After, RewardSpread Change)
{
    internal static SpreadBeforeAfter Of(IReadOnlyList<(double Before, double After)> runs) =>
        new(RunGroup.Spread(runs.Select(r => r.Before)), RunGroup.Spread(runs.Select(r => r.After)),
            RunGroup.Spread(runs.Select(r => r.After - r.Before)));
}

/// <summary>A point of a group's curve.</summary>
/// <param name="Images">Images scored for training.</param>
/// <param name="Reward">Mean training reward of the epoch, over the runs.</param>
public sealed record GroupPoint(long Images, RewardSpread Reward);

/// <summary>Runs of equal options but for the seed.</summary>
/// <param name="Name">The options that tell it from the other groups.</param>
/// <param name="Runs">The runs' folders.</param>
/// <param name="Trained">The reward they were trained on.</param>
/// <param name="Seeds">Their seeds.</param>
/// <param name="Images">Images scored for training, of each.</param>
/// <param name="Seconds">How long they took.</param>
/// <param name="Quantities">What was measured before and after, by name: <c>reward</c>, each reward, <c>GenEval TASK</c>,
/// <c>diversity</c>.</param>
/// <param name="Kl">KL to the base model in nats; null when it was not measured.</param>
/// <param name="Curve">The reward while it was trained, up to the epoch that all runs have.</param>
public sealed record RunGroup(
    string Name, IReadOnlyList<string> Runs, string Trained, IReadOnlyList<ulong> Seeds, long Images, RewardSpread Seconds,
    IReadOnlyDictionary<string, SpreadBeforeAfter> Quantities, RewardSpread? Kl, IReadOnlyList<GroupPoint> Curve)
{
    /// <summary>The trained reward among <see cref="Quantities"/>.</summary>
    public const string Reward = "reward";

    internal static RunGroup Of(string name, IReadOnlyList<FinishedRun> runs)
    {
        var quantities = runs.Select(Measured).ToArray();
        return new(name, [.. runs.Select(r => r.Path)], runs[0].Summary.Reward.Name, [.. runs.Select(r => r.Summary.Seed)],
            runs[0].Summary.Images, Spread(runs.Select(r => r.Summary.Seconds)),
            quantities[0].Keys.Where(key => quantities.All(q => q.ContainsKey(key))).ToDictionary(key => key, key =>
                SpreadBeforeAfter.Of([.. quantities.Select(q => q[key])])),
            runs.All(r => r.Summary.Kl is not null) ? Spread(runs.Select(r => r.Summary.Kl!.Value)) : null,
            [.. Enumerable.Range(0, runs.Min(r => r.Epochs.Count)).Select(i =>
                new GroupPoint(runs[0].Epochs[i].Images, Spread(runs.Select(r => r.Epochs[i].Reward.Mean))))]);
    }

    internal static RewardSpread Spread(IEnumerable<double> values) => RewardSpread.Of([.. values.Select(value => (float)value)]);

    private static Dictionary<string, (double Before, double After)> Measured(FinishedRun run)
    {
        var measured = new Dictionary<string, (double, double)> { [Reward] = Means(run.Summary.Reward) };
        foreach (var (name, value) in run.Summary.Rewards) measured[name] = Means(value);
        foreach (var (task, value) in run.Summary.GenEval
            ?? new Dictionary<string, BeforeAfter>()) measured[$"GenEval {task}"] = Means(value);
        if (run.Diversity is { } diversity) measured["diversity"] = diversity;
        return measured;

        static (double, double) Means(BeforeAfter value) => (value.Before.Mean, value.After.Mean);
    }
}
