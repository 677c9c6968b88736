namespace OrtRlhf.Preferences;

/// <summary>Agreement of two raters beyond chance.</summary>
/// <param name="First">A rater.</param>
/// <param name="Second">Another.</param>
/// <param name="Pairs">Pairs of candidates that both judged.</param>
/// <param name="Observed">Share of them judged the same, 0 to 1.</param>
/// <param name="Kappa">Cohen's kappa; null where chance alone would agree always.</param>
public sealed record RaterAgreement(string First, string Second, int Pairs, double Observed, double? Kappa);

/// <summary>
/// How far raters agree. What is judged are pairs of candidates, in three categories: the first is better, a tie, the second; choices of
/// more candidates are unfolded into their pairs.
/// Kappa is 1 for perfect agreement, 0 for that of chance.
/// </summary>
public static class Agreement
{
    private const int Categories = 3;

    /// <summary>
    /// Cohen's kappa, <c>(po - pe)/(1 - pe)</c>: po the share of equal judgements, pe that of two who judge at random with these raters'
    /// frequencies, sum over categories of p1 p2 (Cohen, 1960).
    /// </summary>
    /// <param name="judgements">Categories 0 to 2 of both raters, pair by pair.</param>
    /// <returns>Null without judgements, or when pe is 1.</returns>
    public static double? Cohen(IReadOnlyCollection<(int First, int Second)> judgements)
    {
        if (judgements.Count == 0) return null;
        double n = judgements.Count, observed = judgements.Count(j => j.First == j.Second) / n;
        var chance = Enumerable.Range(0, Categories).Sum(c =>
            judgements.Count(j => j.First == c) / n * (judgements.Count(j => j.Second == c) / n));
        return chance >= 1 ? null : (observed - chance) / (1 - chance);
    }

    /// <summary>
    /// Fleiss' kappa, <c>(P - Pe)/(1 - Pe)</c>: P the mean over pairs of the share of rater pairs that agree, <c>sum_c n_c (n_c - 1) / (n
    /// (n - 1))</c>; Pe the sum of squares of the categories'
    /// shares (Fleiss, 1971). Pairs may have different numbers n of raters; those with one are left out.
    /// </summary>
    /// <param name="counts">For each pair how many raters chose each category, [3].</param>
    /// <returns>Null without a pair that two judged, or when Pe is 1.</returns>
    public static double? Fleiss(IEnumerable<IReadOnlyList<int>> counts)
    {
        var items = counts.Where(count => count.Sum() >= 2).ToArray();
        if (items.Length == 0) return null;
        var agreement = items.Average(count => count.Sum(n => (double)n * (n - 1)) / ((double)count.Sum() * (count.Sum() - 1)));
        double total = items.Sum(count => count.Sum());
        var chance = Enumerable.Range(0, Categories).Sum(c => Math.Pow(items.Sum(count => count[c]) / total, 2));
        return chance >= 1 ? null : (agreement - chance) / (1 - chance);
    }

    /// <summary>
    /// Each rater's judgement of each pair of candidates: 0 the first (by id) is better, 1 a tie, 2 the second. The last one counts where a
    /// rater judged twice.
    /// </summary>
    internal static Dictionary<(string? Aspect, string First, string Second), Dictionary<string, int>> Judgements(
        IEnumerable<Choice> choices)
    {
        var judgements = new Dictionary<(string?, string, string), Dictionary<string, int>>();
        foreach (var choice in choices.Where(choice => choice.Mode != ChoiceMode.Check))
        {
            foreach (var (first, second, category) in Unfold(choice))
            {
                if (!judgements.TryGetValue((choice.Aspect, first, second), out var raters)) judgements[(choice.Aspect, first, second)] =
                    raters = new(StringComparer.Ordinal);
                raters[choice.Rater] = category;
            }
        }
        return judgements;
    }

    // In best-of-k nothing was said of two that are not the best.
    private static IEnumerable<(string First, string Second, int Category)> Unfold(Choice choice)
    {
        for (var i = 0; i < choice.Ranks.Count; i++)
        {
            for (var j = i + 1; j < choice.Ranks.Count; j++)
            {
                if (choice.Mode == ChoiceMode.Best && choice.Ranks[i] > 0 && choice.Ranks[j] > 0) continue;
                var category = 1 + choice.Ranks[i].CompareTo(choice.Ranks[j]);
                var inOrder = string.CompareOrdinal(choice.Candidates[i], choice.Candidates[j]) < 0;
                yield return inOrder ? (choice.Candidates[i], choice.Candidates[j], category)
                    : (choice.Candidates[j], choice.Candidates[i], 2 - category);
            }
        }
    }
}
