using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Preferences.Labelling;

namespace OrtRlhf.Preferences;

/// <summary>
/// Image pairs with captions as others keep them, JSON Lines with image paths relative to the file. Written in the columns of Pick-a-Pic
/// (Kirstain et al., 2023): <c>caption</c>, <c>jpg_0</c>,
/// <c>jpg_1</c>, <c>label_0</c> (1, 0, or 0.5 for a tie). Read as well: <c>prompt</c>, <c>chosen</c>, <c>rejected</c>; and lists of images
/// with <c>prompt</c>, <c>image_path</c> and
/// <c>human_preference</c> (1 for the chosen, HPD v2) or <c>rank</c> (lower is better, ImageReward).
/// </summary>
public static class PairLayout
{
    private static readonly string[] Captions = ["caption", "prompt", "text"];

    /// <summary>Writes all pairs that were judged, ties among them; the images are copied beside the file.</summary>
    /// <param name="store">The store.</param>
    /// <param name="path">The file.</param>
    /// <returns>How many pairs.</returns>
    /// <exception cref="UserError">An image is missing, or the place cannot be written.</exception>
    public static int Write(IPreferenceStore store, string path)
    {
        var candidates = store.Candidates().ToDictionary(candidate => candidate.Id, StringComparer.Ordinal);
        var lines = new StringBuilder();
        var (folder, count) = (PreferenceLines.FolderOf(path), 0);
        foreach (var choice in store.Choices().Where(choice => choice.Mode != ChoiceMode.Check))
        {
            for (var i = 0; i < choice.Ranks.Count; i++)
            {
                for (var j = i + 1; j < choice.Ranks.Count; j++)
                {
                    if (choice.Mode == ChoiceMode.Best && choice.Ranks[i] > 0 && choice.Ranks[j] > 0) continue;
                    var (first, second) = (candidates[choice.Candidates[i]] with { Trajectory = null },
                        candidates[choice.Candidates[j]] with { Trajectory = null });
                    PreferenceLines.CopyFiles(store.Folder, folder, first);
                    PreferenceLines.CopyFiles(store.Folder, folder, second);
                    var label = choice.Ranks[i].CompareTo(choice.Ranks[j]) switch { < 0 => 1.0, 0 => 0.5, _ => 0.0 };
                    lines.Append(JsonSerializer.Serialize(new PickAPic(choice.Prompt, first.Image, second.Image, label, 1 - label, true,
                        first.Id, second.Id, choice.Rater, choice.Time.ToString("O")), Snake)).Append('\n');
                    count++;
                }
            }
        }
        AtomicFile.Write(path, lines.ToString());
        return count;
    }

    /// <summary>Reads a line.</summary>
    internal static void Read(JsonElement line, PreferenceFolder store, PreferenceFolder folder, string where, int number,
        List<Candidate> candidates, List<Choice> choices)
    {
        var caption = Captions.Select(name => Text(line, name)).FirstOrDefault(text => text is not null)
            ?? throw new UserError($"{where}: expected candidates and choices of a store, or a pair with \"caption\" or \"prompt\"");
        if (line.TryGetProperty("has_label", out var has) && has.ValueKind == JsonValueKind.False) return;
        var (images, ranks) = Ranked(line, where);
        var shown = images.Select(image => PreferenceFolder.IsInside(image) ? ImageFolder.Copy(store, folder.At(image), caption, where)
            : throw new UserError($"{where}: image '{image}': expected a path inside the file's folder")).ToArray();
        if (shown.DistinctBy(candidate => candidate.Id).Count() < shown.Length) return; // the same picture twice says nothing
        candidates.AddRange(shown);
        var id = "p" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{number}\n{line.GetRawText()}")))[..31];
        var rater = line.TryGetProperty("user_id", out var user) && user.ToString() is { Length: > 0 and <= Candidate.LongestName } name
            ? name : "imported";
        var time = DateTimeOffset.TryParse(Text(line, "created_at"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal,
            out var given) ? given.ToUniversalTime() : DateTimeOffset.UtcNow;
        choices.Add(new Choice(id, caption, [.. shown.Select(candidate => candidate.Id)], ranks, rater, shown.Length == 2 ? ChoiceMode.Pair
            : ChoiceMode.Rank, time));
    }

    private static (string[] Images, int[] Ranks) Ranked(JsonElement line, string where)
    {
        if (Text(line, "jpg_0") is { } first && Text(line, "jpg_1") is { } second && Number(line, "label_0") is >= 0 and <= 1 and var label)
            return ([first, second], label > 0.5 ? [0, 1] : label < 0.5 ? [1, 0] : [0, 0]);
        if (Text(line, "chosen") is { } chosen && Text(line, "rejected") is { } rejected) return ([chosen, rejected], [0, 1]);
        if (List(line, "image_path", e => e.GetString()) is { Length: >= 2 and <= Choice.MostCandidates } paths
            && paths.All(path => path is not null))
        {
            var order = List(line, "rank", e => e.GetDouble()) ?? List(line, "human_preference", e => -e.GetDouble());
            if (order is not null && order.Length == paths.Length)
            {
                var places = order.Distinct().Order().ToList();
                return ([.. paths.Select(path => path!)], [.. order.Select(value => places.IndexOf(value))]);
            }
        }
        throw new UserError($"{where}: expected a pair as jpg_0, jpg_1 and label_0 (image paths; 1, 0 or 0.5), as chosen and rejected, "
            + $"or as image_path with rank or human_preference");
    }

    private static string? Text(JsonElement line, string name) =>
        line.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static double? Number(JsonElement line, string name) =>
        line.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number ? value.GetDouble() : null;

    private static T[]? List<T>(JsonElement line, string name, Func<JsonElement, T> read)
    {
        try
        {
            return line.TryGetProperty(name, out var list) && list.ValueKind == JsonValueKind.Array
                ? [.. list.EnumerateArray().Select(read)] : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static JsonSerializerOptions Snake { get; } = new(JsonFile.Line) { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private sealed record PickAPic(string Caption, [property: JsonPropertyName("jpg_0")] string First,
        [property: JsonPropertyName("jpg_1")] string Second,
        [property: JsonPropertyName("label_0")] double FirstLabel, [property: JsonPropertyName("label_1")] double SecondLabel,
            bool HasLabel,
        [property: JsonPropertyName("image_0_uid")] string FirstId, [property: JsonPropertyName("image_1_uid")] string SecondId,
            string UserId, string CreatedAt);
}
