using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>
/// What is learned from a store: the candidates that take part, and one preference for each two that were compared. What preferences.json
/// of a run's folder holds.
/// </summary>
/// <param name="Root">The folder of the images and trajectories.</param>
/// <param name="Candidates">In the order they were added.</param>
/// <param name="Pairs">In the order of the choices; the weight is that of all experts together.</param>
public sealed record PreferenceSelection(string Root, IReadOnlyList<Candidate> Candidates, IReadOnlyList<PreferencePair> Pairs)
{
    /// <summary>The different prompts, in their order.</summary>
    internal IReadOnlyList<string> Prompts => [.. Candidates.Select(c => c.Prompt).Distinct()];

    /// <summary>Reads a store. Skips and attention checks are left out.</summary>
    /// <param name="store">The store.</param>
    /// <param name="experts">Factors on the weights of choices by aspect (quality, taste) or rater; null and experts not named count 1, 0
    /// leaves out.</param>
    /// <exception cref="UserError">No choice says that one candidate is better than another, or a named expert made none.</exception>
    public static PreferenceSelection Read(IPreferenceStore store, IReadOnlyDictionary<string, double>? experts = null)
    {
        var choices = store.Choices();
        var known = choices.SelectMany(c => new[] { c.Aspect, c.Rater }).OfType<string>().ToHashSet(StringComparer.Ordinal);
        if (experts?.Keys.FirstOrDefault(name => !known.Contains(name)) is { } stranger)
            throw new UserError($"preferences '{store.Folder.Root}': `ExpertWeights`: no choice was made by or about '{stranger}'; there "
                + $"are {string.Join(", ", known.Order(StringComparer.Ordinal).Take(20))}");
        var pairs = Combine(choices, experts);
        if (pairs.Count == 0) throw new UserError(
            $"preferences '{store.Folder.Root}': nobody preferred one picture to another yet; choose some with 'ortrlhf label'");
        var named = pairs.SelectMany(p => new[] { p.Winner, p.Loser }).ToHashSet(StringComparer.Ordinal);
        return new(store.Folder.Root, [.. store.Candidates().Where(c => named.Contains(c.Id))], pairs);
    }

    /// <summary>
    /// One preference for each two candidates that choices compare: the one with more weight behind it wins, and counts <c>|w_a - w_b|</c>,
    /// the votes that are left when
    /// those for the other are taken off. As many on both sides are a tie.
    /// </summary>
    /// <param name="choices">Choices of any raters and aspects.</param>
    /// <param name="experts">As in <see cref="Read"/>.</param>
    public static IReadOnlyList<PreferencePair> Combine(IEnumerable<Choice> choices, IReadOnlyDictionary<string, double>? experts = null)
    {
        var votes = new Dictionary<(string, string), double>();
        var order = new List<(string, string)>();
        foreach (var choice in choices)
        {
            var factor = Factor(choice.Aspect) * Factor(choice.Rater);
            if (factor == 0) continue;
            foreach (var (winner, loser, weight) in choice.Pairs())
            {
                var turned = string.CompareOrdinal(winner, loser) > 0;
                var key = turned ? (loser, winner) : (winner, loser);
                if (!votes.ContainsKey(key)) order.Add(key);
                votes[key] = votes.GetValueOrDefault(key) + (turned ? -weight : weight) * factor;
            }
        }
        return [.. order.Where(key => votes[key] != 0).Select(key =>
            votes[key] > 0 ? new PreferencePair(key.Item1, key.Item2, votes[key]) : new(key.Item2, key.Item1, -votes[key]))];

        double Factor(string? name) => name is not null && experts?.TryGetValue(name, out var factor) == true ? factor : 1;
    }
}
