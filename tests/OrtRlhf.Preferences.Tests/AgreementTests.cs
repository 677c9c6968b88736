namespace OrtRlhf.Preferences.Tests;

public class AgreementTests
{
    [Fact]
    public void Cohen_MatchesATextbookCase()
    {
        // 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: po = 0.7, pe = 0.5.
        (int, int)[] judgements = [.. Enumerable.Repeat((0, 0), 20), .. Enumerable.Repeat((0, 2), 5), .. Enumerable.Repeat((2, 0), 10),
            .. Enumerable.Repeat((2, 2), 15)];
        Assert.Equal(0.4, Agreement.Cohen(judgements)!.Value, 12);
        Assert.Null(Agreement.Cohen([(1, 1), (1, 1)])); // chance alone agrees always
        Assert.Null(Agreement.Cohen([]));
        Assert.Equal(1, Agreement.Cohen([(0, 0), (2, 2)])!.Value, 12);
    }

    [Fact]
    public void Fleiss_MatchesComputationByHand()
    {
        // P = mean(1, 1, 1/3, 1/3) = 2/3, shares 1/2 and 1/2: kappa = (2/3 - 1/2) / (1/2). A pair with one rater does not count.
        Assert.Equal(1 / 3.0, Agreement.Fleiss([[3, 0, 0], [0, 0, 3], [2, 0, 1], [1, 0, 2], [1, 0, 0]])!.Value, 12);
        // Two raters and four: P = mean(0, 1/3); shares 1/2, 1/6, 1/3.
        Assert.Equal(((1 / 6.0) - (7 / 18.0)) / (11 / 18.0), Agreement.Fleiss([[1, 1, 0], [2, 0, 2]])!.Value, 12);
        Assert.Null(Agreement.Fleiss([[1, 0, 0]]));
    }

    [Fact]
    public void Report_CountsAndUnfolds()
    {
        Candidate[] candidates = [.. "abcd".Select(c => new Candidate($"{c}", "p", $"images/{c}.png", Source: c < 'c' ? "base" : "tuned"))];
        Choice Of(string id, string rater, ChoiceMode mode, string shown, params int[] ranks) =>
            new(id, "p", [.. shown.Select(c => $"{c}")], ranks, rater, mode, StoreContract.Time);
        var report = PreferenceReport.Of(candidates,
        [
            Of("1", "ada", ChoiceMode.Best, "abcd", 1, 1, 0, 1), Of("2", "bob", ChoiceMode.Rank, "dcba", 1, 0, 2, 2),
                Of("3", "eve", ChoiceMode.Pair, "ac"), Of("4", "eve", ChoiceMode.Pair, "ca", 0, 0),
        ]);
        Assert.Equal((3, 1, 1, 3 + 5), (report.Choices, report.Ties, report.Skips, report.Pairs));
        // ada judged ac, bc, cd; bob all six; eve ac, a tie.
        Assert.Equal((3, 1.0),
            (report.Agreements.Single(pair => (pair.First, pair.Second) == ("ada", "bob")).Pairs, report.Agreements[0].Observed));
        Assert.Equal(0, report.Agreements.Single(pair => pair.Second == "eve" && pair.First == "ada").Observed);
        Assert.Equal(3, report.SharedPairs);
        Assert.Equal(new WinRate(6, 1, 0), report.Sources["tuned"]);
        Assert.Equal(new WinRate(6, 1, 0), report.Prompts[0].Candidates["c"]);
        Assert.Equal("c", report.Prompts[0].Candidates.First().Key);
        Assert.Equal(0.5, new WinRate(1, 2, 1).Rate);
    }
}
