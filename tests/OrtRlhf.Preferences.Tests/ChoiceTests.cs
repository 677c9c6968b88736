using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class ChoiceTests
{
    private static Choice Of(ChoiceMode mode, params int[] ranks) => new("id", "p",
        [.. "abcdef".Take(Math.Max(2, ranks.Length)).Select(c => $"{c}")], ranks, "ada", mode, StoreContract.Time, Weight: 2);

    private static string Pairs(Choice choice) => string.Join(' ', choice.Pairs().Select(pair => pair.Winner + pair.Loser));

    [Fact]
    public void Pairs_OfAllForms()
    {
        Assert.Equal("ba", Pairs(Of(ChoiceMode.Pair, 1, 0)));
        Assert.Equal("", Pairs(Of(ChoiceMode.Pair, 0, 0)));
        Assert.Equal("", Pairs(Of(ChoiceMode.Pair)));
        Assert.Equal("ba bc bd", Pairs(Of(ChoiceMode.Best, 1, 0, 1, 1)));
        Assert.Equal("ba ca cb cd da db", Pairs(Of(ChoiceMode.Rank, 3, 2, 0, 1)));
        Assert.Equal("ab cb", Pairs(Of(ChoiceMode.Rank, 0, 1, 0)));
        Assert.Equal("", Pairs(Of(ChoiceMode.Check, 0, 1)));
        Assert.Equal(2, Of(ChoiceMode.Pair, 1, 0).Pairs().Single().Weight);
    }

    [Fact]
    public void Validate_RefusesContradictions()
    {
        Of(ChoiceMode.Rank, 0, 2, 1, 1).Validate();
        Fails(Of(ChoiceMode.Pair, 1, 1), "a rank for each of 2 candidates, from 0");
        Fails(Of(ChoiceMode.Pair, 0, 16), "a rank for each");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Candidates = ["a", "b", "c"] }, "a rank for each of 3 candidates");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Candidates = ["a", "a"] }, "different candidates");
        Fails(Of(ChoiceMode.Pair, 0, 1, 1), "two candidates in a pair");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Id = "../x" }, "expected an id");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Rater = " " }, "a rater's name");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Weight = double.NaN }, "a weight above 0");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Time = new(2026, 1, 1, 0, 0, 0, TimeSpan.FromHours(1)) }, "a time in UTC");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Comment = "a\0b" }, "zero characters");
        Fails(Of(ChoiceMode.Pair, 0, 1) with { Comment = new string('x', 2001) }, "at most 2000 characters");
    }

    [Theory]
    [InlineData("../../etc/passwd")]
    [InlineData("/etc/passwd")]
    [InlineData("images/../../x")]
    [InlineData("C:/x.png")]
    [InlineData("images\\x.png")]
    [InlineData("images//x.png")]
    [InlineData("")]
    public void Candidate_ImageOutsideTheFolder_Throws(string image)
    {
        Assert.Contains("inside the store's folder", Assert.Throws<UserError>(() => new Candidate("a", "p", image).Validate()).Message);
        Assert.Contains("inside the folder", Assert.Throws<UserError>(() => new PreferenceFolder("/tmp").At(image)).Message);
    }

    [Fact]
    public void Folder_LinkOutside_Throws()
    {
        if (OperatingSystem.IsWindows()) return;
        using var folder = new TempFolder();
        Directory.CreateSymbolicLink(folder.At("images"), "/etc");
        Assert.Contains("got a link", Assert.Throws<UserError>(() => new PreferenceFolder(folder.Path).At("images/passwd")).Message);
    }

    private static void Fails(Choice choice, string expected) =>
        Assert.Contains(expected, Assert.Throws<UserError>(choice.Validate).Message);
}
