using System.Text.Json;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>Reads the files of a CLIP tokenizer.</summary>
internal static class ClipTokenizerFiles
{
    // The reference takes as many merges as CLIP's vocabulary has room for, behind a first line that is always a heading.
    private const int MaxMerges = 49152 - 256 - 2;

    public static ClipTokenizer Open(string folder)
    {
        var vocabulary = new Dictionary<string, long>(StringComparer.Ordinal);
        var path = Path.Combine(folder, "vocab.json");
        foreach (var entry in CheckpointFile.Json(path, CheckpointFile.Read(folder, "vocab.json", CheckpointFile.LargeLimit))
            .EnumerateObject())
            vocabulary[entry.Name] = Id(path, entry.Name, entry.Value);
        return new ClipTokenizer(vocabulary, Merges(folder), Special(folder));
    }

    private static IEnumerable<(string, string)> Merges(string folder)
    {
        var lines = CheckpointFile.Read(folder, "merges.txt", CheckpointFile.LargeLimit).Trim().Split('\n');
        for (var i = 1; i < Math.Min(lines.Length, MaxMerges + 1); i++)
        {
            var parts = lines[i].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (parts is not [var left, var right]) throw new UserError(
                $"checkpoint: '{Path.Combine(folder, "merges.txt")}' line {i + 1}: expected two tokens, got {parts.Length}");
            yield return (left, right);
        }
    }

    private static ClipSpecialTokens Special(string folder)
    {
        var special = new ClipSpecialTokens();
        var added = new Dictionary<string, long>(StringComparer.Ordinal);
        var additional = new List<string>();
        foreach (var name in new[] { "tokenizer_config.json", "special_tokens_map.json" })
        {
            var path = Path.Combine(folder, name);
            if (CheckpointFile.Find(folder, name) is not { } text) continue;
            var json = CheckpointFile.Json(path, text);
            special = special with
            {
                Start = Token(json, "bos_token") ?? special.Start,
                End = Token(json, "eos_token") ?? special.End,
                Pad = Token(json, "pad_token") ?? special.Pad,
                Unknown = Token(json, "unk_token") ?? special.Unknown,
            };
            if (json.TryGetProperty("model_max_length", out var length))
            {
                // Files without a limit say 10^30.
                if (length.ValueKind != JsonValueKind.Number || !length.TryGetDouble(out var number)
                    || number < 2) throw new UserError($"checkpoint: '{path}': expected a model_max_length of at least 2");
                if (number <= 65536) special = special with { MaxLength = (int)number };
            }
            if (json.TryGetProperty("additional_special_tokens", out var more) && more.ValueKind == JsonValueKind.Array)
                additional.AddRange(more.EnumerateArray().Select(Content).OfType<string>());
            if (json.TryGetProperty("added_tokens_decoder", out var decoder) && decoder.ValueKind == JsonValueKind.Object)
            {
                foreach (var entry in decoder.EnumerateObject())
                {
                    if (Content(entry.Value) is not { } token || !long.TryParse(entry.Name, out var id)
                        || id < 0) throw new UserError($"checkpoint: '{path}': added_tokens_decoder: expected ids with tokens");
                    added[token] = id;
                    additional.Add(token);
                }
            }
        }
        if (CheckpointFile.Find(folder, "added_tokens.json") is { } addedText)
        {
            var path = Path.Combine(folder, "added_tokens.json");
            foreach (var entry in CheckpointFile.Json(path, addedText).EnumerateObject())
            {
                added[entry.Name] = Id(path, entry.Name, entry.Value);
                additional.Add(entry.Name);
            }
        }
        return special with { Additional = additional, Added = added };
    }

    private static string? Token(JsonElement json, string key) => json.TryGetProperty(key, out var value) ? Content(value) : null;

    // A token is a text, or an object with its text and how it is split off.
    private static string? Content(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Object when value.TryGetProperty("content", out var content) && content.ValueKind == JsonValueKind.String =>
            content.GetString(),
        _ => null,
    };

    private static long Id(string path, string token, JsonElement value) =>
        value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var id) && id is >= 0 and < int.MaxValue
        ? id
        : throw new UserError(
            $"checkpoint: '{path}': expected an id for token '{(token.Length > 40 ? token[..40] : token).ReplaceLineEndings(" ")}'");
}
