using System.Text.Json;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class PreferenceLinesTests
{
    [Fact]
    public void WriteAndRead_GiveTheSameStore()
    {
        using var folder = new TempFolder();
        using var store = PreferenceStore.Open(folder.At("store"), create: true);
        Candidate[] candidates = [store.Folder.Write(new RgbImage(4, 4), StoreContract.Hard, long.MinValue, StoreContract.Hard),
            store.Folder.Write(new RgbImage(4, 5), StoreContract.Hard)];
        store.Add(candidates);
        string[] ids = [candidates[1].Id, candidates[0].Id];
        store.Add(new Choice("1", StoreContract.Hard, ids, [0, 1], StoreContract.Hard, ChoiceMode.Pair, DateTimeOffset.UtcNow,
            StoreContract.Hard, 1 / 3.0, "taste"));
        store.Add(new Choice("2", StoreContract.Hard, ids, [], "ada", ChoiceMode.Rank, StoreContract.Time));

        PreferenceLines.Write(store, folder.At("out", "all.jsonl"));
        using var other = PreferenceStore.Open(folder.At("other"), create: true);
        Assert.Equal((2, 2), PreferenceLines.Read(other, folder.At("out", "all.jsonl")));
        Assert.Equal((0, 0), PreferenceLines.Read(other, folder.At("out", "all.jsonl")));
        Assert.Equal(StoreContract.Lines(store.Candidates()), StoreContract.Lines(other.Candidates()));
        Assert.Equal(StoreContract.Lines(store.Choices()), StoreContract.Lines(other.Choices()));
        Assert.True(other.Folder.Image(candidates[1]).SameAs(new RgbImage(4, 5)));
    }

    [Theory]
    [InlineData("""{"caption":"a","jpg_0":"x.png","jpg_1":"y.png","label_0":1,"label_1":0,"has_label":true,"user_id":7}""", "0,1", "7")]
    [InlineData("""{"caption":"a","jpg_0":"x.png","jpg_1":"y.png","label_0":0.0}""", "1,0", "imported")]
    [InlineData("""{"caption":"a","jpg_0":"x.png","jpg_1":"y.png","label_0":0.5}""", "0,0", "imported")]
    [InlineData("""{"prompt":"a","chosen":"x.png","rejected":"y.png"}""", "0,1", "imported")]
    [InlineData("""{"prompt":"a","image_path":["x.png","y.png","z.png"],"rank":[2,1,2]}""", "1,0,1", "imported")]
    [InlineData("""{"prompt":"a","image_path":["x.png","y.png"],"human_preference":[0,1]}""", "1,0", "imported")]
    public void Read_LayoutsOfOthers(string line, string ranks, string rater)
    {
        using var folder = new TempFolder();
        using var store = Pictures(folder);
        File.WriteAllText(folder.At("pairs.jsonl"), line + "\n");
        PreferenceLines.Read(store, folder.At("pairs.jsonl"));
        PreferenceLines.Read(store, folder.At("pairs.jsonl"));
        var choice = Assert.Single(store.Choices());
        Assert.Equal((ranks, rater, "a"), (string.Join(',', choice.Ranks), choice.Rater, choice.Prompt));
        Assert.All(store.Candidates(), candidate => store.Folder.Image(candidate));

        // What was read is written in Pick-a-Pic's columns and read again.
        PairLayout.Write(store, folder.At("again", "pairs.jsonl"));
        using var other = PreferenceStore.Open(folder.At("other"), create: true);
        PreferenceLines.Read(other, folder.At("again", "pairs.jsonl"));
        Assert.Equal(Pairs(store), Pairs(other));
        var first = JsonDocument.Parse(File.ReadLines(folder.At("again", "pairs.jsonl")).First()).RootElement;
        Assert.Equal(["caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label", "image_0_uid", "image_1_uid", "user_id",
            "created_at"], first.EnumerateObject().Select(property => property.Name));

        static string Pairs(IPreferenceStore store) =>
            string.Join(' ', store.Choices().SelectMany(choice => choice.Pairs()).Select(pair => $"{pair.Winner}>{pair.Loser}").Order());
    }

    [Theory]
    [InlineData("""{"prompt":"a","chosen":"../x.png","rejected":"y.png"}""", "expected a path inside")]
    [InlineData("""{"prompt":"a","chosen":"/etc/passwd","rejected":"y.png"}""", "expected a path inside")]
    [InlineData("""{"prompt":"a","chosen":"pairs.jsonl","rejected":"y.png"}""", "expected a JPEG, PNG or WebP")]
    [InlineData("""{"prompt":"a","chosen":"none.png","rejected":"y.png"}""", "there is no such file")]
    [InlineData("""{"prompt":"a","jpg_0":"x.png","jpg_1":"y.png","label_0":7}""", "expected a pair")]
    [InlineData("""{"prompt":"a","image_path":["x.png","y.png"],"rank":[1]}""", "expected a pair")]
    [InlineData("""{"chosen":"x.png"}""", "expected candidates and choices of a store")]
    [InlineData("""{"candidate":{"id":"q","prompt":"a","image":"../../etc/passwd"}}""", "inside the store's folder")]
    [InlineData("""{"candidate":{"id":"q","prompt":"a","image":"images/q.png"}}""", "there is no such file")]
    [InlineData(
        """{"choice":{"id":"q","prompt":"a","candidates":["u","v"],"ranks":[0,1],"rater":"r","mode":"pair","time":"2026-01-01T00:00:00Z"}}""", "is not in the store")]
    [InlineData("""{"choice":{"id":"q"}}""", "expected")]
    [InlineData("""[1]""", "expected a JSON object")]
    [InlineData("""{"prompt":""", "not the JSON expected")]
    public void Read_WrongLine_NamesIt(string line, string expected)
    {
        using var folder = new TempFolder();
        using var store = Pictures(folder);
        File.WriteAllText(folder.At("pairs.jsonl"), line + "\n");
        Assert.Contains(expected, Assert.Throws<UserError>(() => PreferenceLines.Read(store, folder.At("pairs.jsonl"))).Message);
        Assert.Empty(store.Choices());
    }

    private static IPreferenceStore Pictures(TempFolder folder)
    {
        foreach (var (i, name) in new[] { "x", "y", "z" }.Index()) File.WriteAllBytes(folder.At(name + ".png"),
            ImageCodec.EncodePng(new RgbImage(8, 8 + i)));
        return PreferenceStore.Open(folder.At("store"), create: true);
    }
}
