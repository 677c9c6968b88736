namespace OrtRlhf.Preferences.Labelling;

/// <summary>What raters are asked.</summary>
public sealed record LabelOptions
{
    /// <summary>Pair, best of several, or all in order; default pair.</summary>
    public ChoiceMode Mode { get; init; } = ChoiceMode.Pair;

    /// <summary>Candidates of a question, 2 to 9 (each has a key), 2 for pairs; default 2.</summary>
    public int Candidates { get; init; } = 2;

    /// <summary>How many raters answer each question, 1 to 1000; default 1. Agreement can be told from 2.</summary>
    public int Overlap { get; init; } = 1;

    /// <summary>An attention check after about so many questions, 0 for none; default 20.</summary>
    public int CheckEvery { get; init; } = 20;

    /// <summary>Stored with each choice: what was judged; null, the default, for the whole.</summary>
    public string? Aspect { get; init; }

    /// <summary>
    /// What draws, as <see cref="Candidate.Source"/> has it; null, the default, where nothing is drawn. Pictures with paths that something
    /// else drew then rest: raters of a
    /// round judge the model as it is now. Their choices stay.
    /// </summary>
    public string? Source { get; init; }

    /// <summary>Whether raters are asked about a candidate.</summary>
    /// <param name="candidate">The candidate.</param>
    internal bool Asks(Candidate candidate) =>
        Source is null || candidate.Trajectory is null || candidate.Source is null || candidate.Source == Source;

    /// <summary>All faults, in the words of the command line; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (Mode is ChoiceMode.Check) yield return "`Mode`: expected pair, best or rank, got check";
        if (Mode == ChoiceMode.Pair
            && Candidates != 2) yield return $"`Candidates`: a pair has 2, got {Candidates}; use `Mode` best or rank";
        if (Candidates is < 2 or > 9) yield return $"`Candidates`: expected 2 to 9, got {Candidates}";
        if (Overlap is < 1 or > 1000) yield return $"`Overlap`: expected 1 to 1000, got {Overlap}";
        if (CheckEvery is < 0 or (> 0 and < 3)) yield return $"`CheckEvery`: expected 0 for none, or at least 3, got {CheckEvery}";
        if (Aspect is { Length: 0 or > Candidate.LongestName }) yield return $"`Aspect`: expected 1 to {Candidate.LongestName} "
            + $"characters, got {Aspect.Length}";
    }
}
