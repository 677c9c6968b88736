using OrtRlhf.Graph;

namespace OrtRlhf.Tuning.Rewards;

/// <summary>A reward that expressions can name.</summary>
/// <param name="Name">See <see cref="IReward.Name"/>.</param>
/// <param name="Summary">One line for help and errors.</param>
/// <param name="Create">Makes it; called when an expression or a watch list first needs it, so that models load only then.</param>
/// <param name="OppositeOf">The reward that this one is the plain negative of; then watching it would say nothing more.</param>
public sealed record RewardEntry(string Name, string Summary, Func<IReward> Create, string? OppositeOf = null);

/// <summary>The rewards at hand, by name. Immutable.</summary>
public sealed class RewardRegistry
{
    private readonly Dictionary<string, RewardEntry> entries;

    /// <summary>Makes a registry.</summary>
    /// <param name="entries">Its rewards; names differ.</param>
    public RewardRegistry(IEnumerable<RewardEntry> entries) => this.entries = entries.ToDictionary(entry => entry.Name);

    /// <summary>The rewards that ship.</summary>
    public static RewardRegistry Default { get; } = new(
    [
        new("jpeg-compressibility", "minus the size in kB as a JPEG of quality 95", () => JpegRewards.Compressibility),
        new("jpeg-incompressibility", "the size in kB as a JPEG of quality 95", () => JpegRewards.Incompressibility, OppositeOf: "jpeg-compressibility"),
        new("prompt-alignment", "how far an image of drawn scenes shows what its caption says, 0 to 1", () => PromptAlignment.Partial),
        new("prompt-accuracy", "1 when an image of drawn scenes shows exactly what its caption says, else 0", () => PromptAlignment.Accuracy),
    ]);

    /// <summary>All entries, sorted by name.</summary>
    public IEnumerable<RewardEntry> Entries => entries.Values.OrderBy(entry => entry.Name, StringComparer.Ordinal);

    /// <summary>This registry and one more reward, in place of any of the same name.</summary>
    /// <param name="entry">The reward.</param>
    public RewardRegistry With(RewardEntry entry) => new(entries.Values.Where(other => other.Name != entry.Name).Append(entry));

    /// <summary>
    /// Reads a weighted sum such as <c>jpeg-compressibility + 2*prompt-alignment</c>: signs, weights before or after the name,
    /// blanks anywhere; repeated names are added up. Watches, beside it, every other reward that fits all prompts, opposites aside.
    /// </summary>
    /// <param name="expression">The sum.</param>
    /// <param name="prompts">The run's prompts, to choose what can be watched; null watches nothing.</param>
    /// <param name="watch">The rewards to watch; null chooses.</param>
    /// <exception cref="UserError">An unknown name, with the known ones; a fault in the expression; a reward that does not fit a prompt.</exception>
    public WeightedReward Parse(string expression, IReadOnlyCollection<string>? prompts = null, IReadOnlyList<string>? watch = null)
    {
        var terms = RewardExpression.Parse(expression, entries.ContainsKey, Entries.Select(entry => entry.Name))
            .Select(term => new RewardTerm(term.Weight, entries[term.Name].Create())).ToArray();
        foreach (var term in terms) RequireFit(term.Reward, prompts);
        if (watch is not null) return new WeightedReward(terms, [.. watch.Select(name => Watched(name, prompts))]);
        var said = terms.Select(term => entries[term.Reward.Name]).SelectMany(entry => new[] { entry.Name, entry.OppositeOf }).ToHashSet();
        var watched = prompts is null ? [] : Entries.Where(entry => entry.OppositeOf is null && !said.Contains(entry.Name))
            .Select(entry => entry.Create()).Where(reward => prompts.All(reward.Fits)).ToArray();
        return new WeightedReward(terms, watched);
    }

    private IReward Watched(string name, IReadOnlyCollection<string>? prompts)
    {
        if (!entries.TryGetValue(name, out var entry)) throw new UserError($"unknown reward '{name}' to watch: known are {string.Join(", ", Entries.Select(known => known.Name))}.");
        var reward = entry.Create();
        RequireFit(reward, prompts);
        return reward;
    }

    private void RequireFit(IReward reward, IReadOnlyCollection<string>? prompts)
    {
        if (prompts?.FirstOrDefault(prompt => !reward.Fits(prompt)) is { } misfit)
            throw new UserError(misfit.Length == 0
                ? $"reward '{reward.Name}': scores images of prompts, but the model draws without prompts. Choose another reward, such as jpeg-compressibility."
                : $"reward '{reward.Name}': cannot score images of the prompt \"{misfit}\". Choose other prompts or another reward: {entries[reward.Name].Summary}.");
    }
}
