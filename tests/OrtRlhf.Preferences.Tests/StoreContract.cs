using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences.Tests;

/// <summary>What every store must do.</summary>
internal static class StoreContract
{
    /// <summary>Texts that SQL, HTML and databases stumble over.</summary>
    public const string Hard = "'); DROP TABLE preference_choices; -- <b>\"bold\"</b> \\ %s @id $1\n\tÄ 日本 👩‍🎨";

    public static readonly DateTimeOffset Time = new(2026, 2, 3, 4, 5, 6, TimeSpan.Zero);

    public static Candidate Candidate(string id, string prompt = "a red circle") => new(id, prompt, $"images/{id}.png", 7);

    public static Choice Pair(string id, string left, string right, string rater = "ada", int winner = 0, string prompt = "a red circle") =>
        new(id, prompt, [left, right], winner == 0 ? [0, 1] : [1, 0], rater, ChoiceMode.Pair, Time);

    public static string Lines<T>(IEnumerable<T> records) =>
        string.Join('\n', records.Select(record => JsonSerializer.Serialize(record, JsonFile.Line)));

    /// <summary>Goes through everything; <paramref name="open"/> opens the same store each time, empty at first.</summary>
    public static void Holds(Func<IPreferenceStore> open)
    {
        Candidate[] candidates =
        [
            Candidate("a"), Candidate("b"), Candidate("c"), new("hard", Hard, "images/x y ü.png", long.MinValue,
                "trajectories/t.safetensors", Hard), new("other", Hard, "images/o.png"),
        ];
        Choice[] choices =
        [
            Pair("1", "a", "b"), Pair("2", "b", "a", "bob"),
                new("3", "a red circle", ["c", "a", "b"], [1, 0, 1], "ada", ChoiceMode.Best, Time.AddTicks(1)),
            new("4", Hard, ["hard", "other"], [0, 0], Hard, ChoiceMode.Rank, DateTimeOffset.UtcNow, Hard, 0.1 + 0.2, Hard),
                new("5", Hard, ["hard", "other"], [], "ada", ChoiceMode.Check, Time),
        ];
        using (var store = open())
        {
            Assert.Empty(store.Candidates());
            Assert.Equal(5, store.Add(candidates));
            Assert.Equal(0, store.Add(candidates));
            Assert.Equal(3, store.Add(choices[..3]));
            Assert.Equal(2, store.Add(choices)); // sent again with two more
        }
        using (var store = open())
        using (var second = open())
        {
            Assert.Equal(Lines(candidates), Lines(store.Candidates()));
            Assert.Equal(Lines(choices), Lines(store.Choices()));
            Assert.Equal(["1", "3", "5"], store.Choices("ada").Select(choice => choice.Id));

            Assert.False(store.Undo("2", "ada")); // another's
            Assert.True(store.Undo("3", "ada"));
            Assert.False(store.Undo("3", "ada"));
            Assert.Equal(["1", "2", "4", "5"], second.Choices().Select(choice => choice.Id));

            // Nothing of a list with a fault is kept.
            Assert.Contains("candidate 'nowhere' is not in the store",
                Assert.Throws<UserError>(() => store.Add([Pair("6", "a", "b"), Pair("7", "a", "nowhere")])).Message);
            Assert.Contains("is for another prompt", Assert.Throws<UserError>(() => store.Add([Pair("6", "a", "hard")])).Message);
            Assert.Contains("another one with this id",
                Assert.Throws<UserError>(() => store.Add([Candidate("new"), Candidate("a", "a blue star")])).Message);
            Assert.Equal(4, store.Choices().Count);
            Assert.Equal(5, store.Candidates().Count);

            // Several writers at once, each through its own connection.
            Parallel.For(0, 40, i => (i % 2 == 0 ? store : second).Add(Pair($"many-{i}", "a", "b", $"rater {i % 5}")));
            Assert.Equal(44, store.Choices().Select(choice => choice.Id).Distinct().Count());
        }
    }
}
