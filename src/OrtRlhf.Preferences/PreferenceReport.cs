namespace OrtRlhf.Preferences;

/// <summary>What a rater did.</summary>
/// <param name="Rater">The rater.</param>
/// <param name="Choices">Answers, ties among them, without skips and attention checks.</param>
/// <param name="Ties">Answers that saw no difference.</param>
/// <param name="Skips">Questions left unanswered.</param>
/// <param name="Checks">Attention checks answered.</param>
/// <param name="Passed">Of those, where the spoiled picture lost.</param>
public sealed record RaterReport(string Rater, int Choices, int Ties, int Skips, int Checks, int Passed);

/// <summary>How often something was preferred.</summary>
/// <param name="Wins">Pairs won.</param>
/// <param name="Ties">Pairs that were ties.</param>
/// <param name="Losses">Pairs lost.</param>
public sealed record WinRate(int Wins, int Ties, int Losses)
{
    /// <summary>(wins + ties/2) / pairs; NaN without pairs.</summary>
    public double Rate => (Wins + (Ties / 2.0)) / (Wins + Ties + Losses);
}

/// <summary>What was said of a prompt's candidates.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="Choices">Answers.</param>
/// <param name="Ties">Of them ties.</param>
/// <param name="Candidates">Win rate of each candidate that was judged, by its id, the best first.</param>
public sealed record PromptReport(string Prompt, int Choices, int Ties, IReadOnlyDictionary<string, WinRate> Candidates);

/// <summary>A store in numbers.</summary>
/// <param name="Candidates">Candidates, without those spoiled for attention checks.</param>
/// <param name="WithTrajectories">Of them with a stored trajectory.</param>
/// <param name="Choices">Answers, without skips and attention checks.</param>
/// <param name="Ties">Of them ties.</param>
/// <param name="Skips">Questions left unanswered.</param>
/// <param name="Pairs">Pairs (winner, loser) that the answers give.</param>
/// <param name="Raters">Each rater.</param>
/// <param name="Agreements">Cohen's kappa of each two raters with pairs in common.</param>
/// <param name="FleissKappa">Fleiss' kappa of all; null when no pair was judged by two.</param>
/// <param name="SharedPairs">Pairs that two or more judged.</param>
/// <param name="Sources">Win rate of each source against the others, where there are several.</param>
/// <param name="Prompts">Each prompt with answers, those with the most first.</param>
public sealed record PreferenceReport(
    int Candidates, int WithTrajectories, int Choices, int Ties, int Skips, int Pairs, IReadOnlyList<RaterReport> Raters,
        IReadOnlyList<RaterAgreement> Agreements, double? FleissKappa, int SharedPairs,
    IReadOnlyDictionary<string, WinRate> Sources, IReadOnlyList<PromptReport> Prompts)
{
    /// <summary>Counts a store's choices.</summary>
    /// <exception cref="Graph.UserError">The store cannot be read.</exception>
    public static PreferenceReport Of(IPreferenceStore store) => Of(store.Candidates(), store.Choices());

    /// <summary>Counts choices.</summary>
    /// <param name="all">All candidates.</param>
    /// <param name="choices">All choices.</param>
    public static PreferenceReport Of(IReadOnlyList<Candidate> all, IReadOnlyList<Choice> choices)
    {
        var candidates = all.Where(candidate => !candidate.IsCheck).ToArray();
        var answers = choices.Where(choice => choice.Mode != ChoiceMode.Check && !choice.IsSkipped).ToArray();
        var judgements = Agreement.Judgements(answers);
        var shared = judgements.Values.Where(raters => raters.Count >= 2).ToArray();
        return new(
            candidates.Length, candidates.Count(candidate => candidate.Trajectory is not null), answers.Length,
                answers.Count(choice => choice.IsTie), choices.Count(choice => choice.IsSkipped && choice.Mode != ChoiceMode.Check),
            answers.Sum(choice => choice.Pairs().Count()), RatersOf(choices, all), AgreementsOf(shared),
                Agreement.Fleiss(shared.Select(raters => (int[])[.. Enumerable.Range(0, 3).Select(c => raters.Values.Count(v => v == c))])),
            shared.Length, SourcesOf(judgements, all), PromptsOf(answers));
    }

    private static RaterReport[] RatersOf(IReadOnlyList<Choice> choices, IReadOnlyList<Candidate> candidates)
    {
        var spoiled = candidates.Where(candidate => candidate.IsCheck).Select(candidate => candidate.Id).ToHashSet(StringComparer.Ordinal);
        return [.. choices.GroupBy(choice => choice.Rater).Select(group =>
        {
            var (checks, rest) = (group.Where(choice => choice.Mode == ChoiceMode.Check).ToArray(),
                group.Where(choice => choice.Mode != ChoiceMode.Check).ToArray());
            return new RaterReport(
                group.Key, rest.Count(choice => !choice.IsSkipped), rest.Count(choice => choice.IsTie),
                    rest.Count(choice => choice.IsSkipped), checks.Count(choice => !choice.IsSkipped),
                checks.Count(choice =>
                    choice.Ranks.Zip(choice.Candidates).Any(entry => entry.First > 0 && spoiled.Contains(entry.Second))));
        }).OrderByDescending(rater => rater.Choices).ThenBy(rater => rater.Rater, StringComparer.Ordinal)];
    }

    private static RaterAgreement[] AgreementsOf(Dictionary<string, int>[] shared)
    {
        var pairs = new SortedDictionary<(string, string), List<(int First, int Second)>>();
        foreach (var judged in shared)
        {
            var raters = judged.Keys.Order(StringComparer.Ordinal).ToArray();
            foreach (var (i, first) in raters.Index())
            {
                foreach (var second in raters[(i + 1)..])
                {
                    if (!pairs.TryGetValue((first, second), out var both)) pairs[(first, second)] = both = [];
                    both.Add((judged[first], judged[second]));
                }
            }
        }
        return [.. pairs.Select(pair => new RaterAgreement(
            pair.Key.Item1, pair.Key.Item2, pair.Value.Count, pair.Value.Count(j => j.First == j.Second) / (double)pair.Value.Count,
                Agreement.Cohen(pair.Value)))];
    }

    private static Dictionary<string, WinRate> SourcesOf(
        Dictionary<(string? Aspect, string First, string Second), Dictionary<string, int>> judgements, IReadOnlyList<Candidate> candidates)
    {
        var sources = candidates.ToDictionary(candidate => candidate.Id, candidate => candidate.Source, StringComparer.Ordinal);
        var counts = new SortedDictionary<string, int[]>(StringComparer.Ordinal);
        foreach (var ((_, first, second), raters) in judgements)
        {
            if (sources.GetValueOrDefault(first) is not { } a || sources.GetValueOrDefault(second) is not { } b || a == b) continue;
            foreach (var category in raters.Values)
            {
                Counts(a)[category]++;
                Counts(b)[2 - category]++;
            }
        }
        return counts.ToDictionary(source => source.Key, source => new WinRate(source.Value[0], source.Value[1], source.Value[2]));

        int[] Counts(string source) => counts.TryGetValue(source, out var known) ? known : counts[source] = new int[3];
    }

    private static PromptReport[] PromptsOf(Choice[] answers) => [.. answers.GroupBy(choice => choice.Prompt).Select(prompt =>
    {
        var counts = new Dictionary<string, int[]>(StringComparer.Ordinal);
        foreach (var ((_, first, second), raters) in Agreement.Judgements(prompt))
        {
            foreach (var category in raters.Values)
            {
                Counts(first)[category]++;
                Counts(second)[2 - category]++;
            }
        }
        var rates = counts.ToDictionary(candidate => candidate.Key, candidate =>
            new WinRate(candidate.Value[0], candidate.Value[1], candidate.Value[2]));
        return new PromptReport(
            prompt.Key, prompt.Count(), prompt.Count(choice => choice.IsTie), rates.OrderByDescending(rate => rate.Value.Rate)
                .ThenBy(rate => rate.Key, StringComparer.Ordinal).ToDictionary(rate => rate.Key, rate => rate.Value));

        int[] Counts(string candidate) => counts.TryGetValue(candidate, out var known) ? known : counts[candidate] = new int[3];
    }).OrderByDescending(prompt => prompt.Choices).ThenBy(prompt => prompt.Prompt, StringComparer.Ordinal)];
}
