using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>What was asked.</summary>
public enum ChoiceMode
{
    /// <summary>Which of two is better.</summary>
    Pair,

    /// <summary>Which of several is the best.</summary>
    Best,

    /// <summary>All from the best to the worst.</summary>
    Rank,

    /// <summary>A picture against one spoiled on purpose: whether the rater looks. Nothing is learned from it.</summary>
    Check,
}

/// <summary>One candidate over another.</summary>
/// <param name="Winner">Id of the preferred candidate.</param>
/// <param name="Loser">Id of the other.</param>
/// <param name="Weight">The choice's weight.</param>
public readonly record struct PreferencePair(string Winner, string Loser, double Weight);

/// <summary>
/// What a rater said of some candidates for one prompt. Pairs, best-of-k and rankings are one form, a rank for each candidate: 0 is best,
/// equal
/// numbers are ties; best-of-k has one 0 and ones.
/// </summary>
/// <param name="Id">As <see cref="Candidate.Id"/>; a store takes the same id once, so that a page may send a choice again.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Candidates">Ids in the order shown, 2 to 16, all different.</param>
/// <param name="Ranks">A rank for each candidate, 0 to 15, at least one 0; none when the rater skipped.</param>
/// <param name="Rater">Who chose: a name, or the reward in a person's place.</param>
/// <param name="Mode">What was asked.</param>
/// <param name="Time">When, in UTC.</param>
/// <param name="Comment">What the rater wrote; null when nothing.</param>
/// <param name="Weight">How much it counts, above 0; 1 by default.</param>
/// <param name="Aspect">What was judged (quality, compatibility, taste); null for the whole.</param>
public sealed record Choice(
    string Id, string Prompt, IReadOnlyList<string> Candidates, IReadOnlyList<int> Ranks, string Rater, ChoiceMode Mode,
        DateTimeOffset Time,
    string? Comment = null, double Weight = 1, string? Aspect = null)
{
    /// <summary>Most candidates of one choice.</summary>
    public const int MostCandidates = 16;

    /// <summary>Whether the rater gave no answer.</summary>
    public bool IsSkipped => Ranks.Count == 0;

    /// <summary>Whether the rater saw no difference between any of them.</summary>
    public bool IsTie => Ranks.Count > 0 && Ranks.All(rank => rank == Ranks[0]);

    /// <summary>
    /// All (winner, loser) that follow: of every two candidates with different ranks the one with the lower. Ties, skips and attention
    /// checks give none.
    /// </summary>
    public IEnumerable<PreferencePair> Pairs()
    {
        if (Mode == ChoiceMode.Check) yield break;
        for (var i = 0; i < Ranks.Count; i++)
            for (var j = 0; j < Ranks.Count; j++)
                if (Ranks[i] < Ranks[j]) yield return new(Candidates[i], Candidates[j], Weight);
    }

    /// <summary>Refuses a choice that no store takes.</summary>
    /// <exception cref="UserError">A part is missing, too long, or contradicts another.</exception>
    public void Validate()
    {
        if (!Candidate.IsId(Id)) throw new UserError($"choice '{Id}': expected an id of 1 to 64 letters, digits, hyphens and underscores");
        if (Prompt is null || Prompt.Length > Candidate.LongestPrompt) throw Fault(
            $"a prompt of at most {Candidate.LongestPrompt} characters", Prompt?.Length.ToString());
        if (Candidates is not { Count: >= 2 and <= MostCandidates }
            || !Candidates.All(Candidate.IsId)) throw Fault($"2 to {MostCandidates} candidates' ids", Candidates?.Count.ToString());
        if (Candidates.Distinct(StringComparer.Ordinal).Count() < Candidates.Count) throw Fault("different candidates",
            string.Join(", ", Candidates));
        if (Ranks is null || (Ranks.Count > 0 && (Ranks.Count != Candidates.Count || Ranks.Min() != 0 || Ranks.Max() >= MostCandidates)))
            throw Fault($"a rank for each of {Candidates.Count} candidates, from 0, or none for a skip", Ranks is null ? null
                : $"[{string.Join(",", Ranks)}]");
        if (string.IsNullOrWhiteSpace(Rater)
            || Rater.Length > Candidate.LongestName) throw Fault($"a rater's name of 1 to {Candidate.LongestName} characters", Rater);
        if (!Enum.IsDefined(Mode)) throw Fault("mode pair, best, rank or check", Mode.ToString());
        if (Mode is ChoiceMode.Pair or ChoiceMode.Check && Candidates.Count != 2) throw Fault("two candidates in a pair",
            Candidates.Count.ToString());
        if (Comment?.Length > Candidate.LongestComment) throw Fault($"a comment of at most {Candidate.LongestComment} characters",
            Comment.Length.ToString());
        if (Aspect?.Length > Candidate.LongestName) throw Fault($"an aspect of at most {Candidate.LongestName} characters",
            Aspect.Length.ToString());
        if (!(Weight > 0 && double.IsFinite(Weight))) throw Fault("a weight above 0",
            Weight.ToString(System.Globalization.CultureInfo.InvariantCulture));
        if (Time.Offset != TimeSpan.Zero) throw Fault("a time in UTC", Time.ToString("O"));
        if (Text.HasFault(Prompt) || Text.HasFault(Rater) || Text.HasFault(Comment)
            || Text.HasFault(Aspect)) throw Fault("texts without zero characters and halves of surrogate pairs", "one with");
    }

    private UserError Fault(string expected, string? got) => new($"choice '{Id}': expected {expected}, got {got ?? "none"}");
}
