using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Preferences;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests.Web;

public class PreferencesCommandTests
{
    [Fact]
    public void ExportAndImport_GiveTheSameStore_AndReport()
    {
        using var folder = new TempFolder();
        using (var store = PreferenceStore.Open(folder.At("store"), create: true))
        {
            Candidate[] candidates = [.. Enumerable.Range(0, 4).Select(i =>
                store.Folder.Write(new RgbImage(8, 8), "a disc", i, i % 2 == 0 ? "base" : "tuned"))];
            store.Add(candidates);
            string[] Ids(params int[] which) => [.. which.Select(i => candidates[i].Id)];
            var time = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
            Choice[] choices =
            [
                new("1", "a disc", Ids(0, 1), [1, 0], "ada", ChoiceMode.Pair, time),
                    new("2", "a disc", Ids(1, 0), [0, 1], "bob", ChoiceMode.Pair, time.AddTicks(7), "<b>", 0.3),
                new("3", "a disc", Ids(2, 3), [0, 0], "ada", ChoiceMode.Pair, time), new("4", "a disc", Ids(2, 3), [0, 1], "bob",
                    ChoiceMode.Pair, time), new("5", "a disc", Ids(2, 3), [], "eve", ChoiceMode.Pair, time),
            ];
            store.Add(choices);
        }

        Cli.Run("preferences", folder.At("store"), "--export", folder.At("out", "preferences.jsonl")).Succeeds();
        Cli.Run("preferences", folder.At("other"), "--import", folder.At("out", "preferences.jsonl")).Succeeds();
        // twice does no harm
        Cli.Run("preferences", folder.At("other"), "--import", folder.At("out", "preferences.jsonl"), "--export",
            folder.At("again", "preferences.jsonl")).Succeeds();
        Assert.Equal(File.ReadAllText(folder.At("out", "preferences.jsonl")), File.ReadAllText(folder.At("again", "preferences.jsonl")));
        Assert.Equal(4, Directory.GetFiles(folder.At("other", "images")).Length);

        var result = Cli.Run("preferences", folder.At("other")).Succeeds();
        Assert.Contains("4 choices (1 ties, 1 skips beside them), 3 pairs", result.Out);
        var report = JsonDocument.Parse(Cli.Run("preferences", folder.At("other"), "--json", "-").Succeeds().Out).RootElement;
        Assert.Equal(2, report.GetProperty("agreements")[0].GetProperty("pairs").GetInt32());
        Assert.Equal(0.5, report.GetProperty("agreements")[0].GetProperty("observed").GetDouble());
        Assert.Equal(2, report.GetProperty("sources").GetProperty("tuned").GetProperty("wins").GetInt32());

        var pairs = Cli.Run("preferences", folder.At("store"), "--export", folder.At("pairs", "pairs.jsonl"), "--layout", "pairs")
            .Succeeds();
        Assert.Contains("4 pairs in", pairs.Error);
        Assert.True(File.Exists(folder.At("pairs",
            JsonDocument.Parse(File.ReadLines(folder.At("pairs", "pairs.jsonl")).First()).RootElement.GetProperty("jpg_0").GetString()!)));
    }

    [Fact]
    public void Run_NoStore_SaysHowToMakeOne()
    {
        using var folder = new TempFolder();
        Cli.Run("preferences", folder.At("none")).FailsWith(1, "made by 'ortrlhf label'");
        Cli.Run("preferences", folder.At("none"), "--layout", "x").FailsWith(2, "expected exact or pairs");
    }
}
