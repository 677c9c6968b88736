using System.Text.Json;
using System.Text.RegularExpressions;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>The steps in front of a Unigram model, as tokenizer.json describes them.</summary>
internal static class UnigramSteps
{
    private const string Source = UnigramTokenizer.FileName;

    /// <summary>The steps of an entry, those of a Sequence one by one; none where it is null.</summary>
    public static IEnumerable<JsonElement> Flat(JsonElement root, string name, string parts)
    {
        if (!root.TryGetProperty(name, out var step) || step.ValueKind == JsonValueKind.Null) return [];
        if (step.ValueKind != JsonValueKind.Object) throw new UserError($"{Source}: {name}: expected an object or null");
        return Parts(step);

        IEnumerable<JsonElement> Parts(JsonElement e) => UnigramFile.Text(e, "type") != "Sequence" ? [e]
            : UnigramFile.Items(e.TryGetProperty(parts, out var list) ? list : default, parts).SelectMany(p => Parts(p));
    }

    /// <summary>A step of the normalisation.</summary>
    public static Func<string, string> Normalizer(JsonElement e)
    {
        switch (UnigramFile.Text(e, "type"))
        {
            case "Precompiled":
                var text = UnigramFile.Text(e, "precompiled_charsmap") ?? "";
                var bytes = new byte[text.Length];
                if (!Convert.TryFromBase64String(text, bytes,
                    out var count)) throw new UserError($"{Source}: precompiled_charsmap: expected base64");
                return count == 0 ? t => t : new CharacterMap(bytes[..count]).Apply;
            case "Strip":
                var (left, right) = (UnigramFile.Flag(e, "strip_left"), UnigramFile.Flag(e, "strip_right"));
                return t => left ? (right ? t.Trim() : t.TrimStart()) : right ? t.TrimEnd() : t;
            case "Replace":
                return Replacement(e);
            case "Prepend":
                var start = UnigramFile.Text(e, "prepend") ?? "";
                return t => t.Length == 0 ? t : start + t;
            case "NFC":
                return Composition.Compose;
            case "Lowercase":
                return t => t.ToLowerInvariant();
            case var type:
                throw new UserError($"{Source}: normalizer \"{UnigramFile.Short(type ?? "")}\" is not supported; expected Precompiled, "
                    + $"Strip, Replace, Prepend, NFC, Lowercase or a Sequence of them");
        }
    }

    /// <summary>A step that cuts a text, which may be the beginning of all, into words.</summary>
    public static Func<string, bool, IEnumerable<string>> PreTokenizer(JsonElement e)
    {
        switch (UnigramFile.Text(e, "type"))
        {
            case "WhitespaceSplit":
                return (t, _) => t.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            case "Metaspace":
                var mark = UnigramFile.Text(e, "replacement") ?? "▁";
                // Older files say only whether there is a mark at the beginning.
                var scheme = UnigramFile.Text(e, "prepend_scheme")
                    ?? (e.TryGetProperty("add_prefix_space", out var add) && add.ValueKind == JsonValueKind.False ? "never" : "always");
                if (mark.Length != 1 || scheme is not ("always" or "first" or "never"))
                    throw new UserError($"{Source}: pre_tokenizer Metaspace: expected a replacement of one character and prepend_scheme "
                        + $"always, first or never");
                var cut = !(e.TryGetProperty("split", out var split) && split.ValueKind == JsonValueKind.False);
                return (t, first) => Marked(t, mark[0], scheme == "always" || (scheme == "first" && first), cut);
            case var type:
                throw new UserError($"{Source}: pre_tokenizer \"{UnigramFile.Short(type ?? "")}\" is not supported; expected "
                    + $"WhitespaceSplit, Metaspace or a Sequence of them");
        }
    }

    /// <summary>Spaces as marks, one in front, and cut before each.</summary>
    private static IEnumerable<string> Marked(string text, char mark, bool prepend, bool cut)
    {
        text = text.Replace(' ', mark);
        if (prepend && text[0] != mark) text = mark + text;
        var start = 0;
        for (var i = 1; cut && i < text.Length; i++)
        {
            if (text[i] != mark) continue;
            yield return text[start..i];
            start = i;
        }
        yield return text[start..];
    }

    private static Func<string, string> Replacement(JsonElement e)
    {
        var content = UnigramFile.Text(e, "content") ?? "";
        var pattern = e.TryGetProperty("pattern", out var p) && p.ValueKind == JsonValueKind.Object ? p
            : throw new UserError($"{Source}: normalizer Replace: expected a pattern");
        if (UnigramFile.Text(pattern, "String") is { Length: > 0 } plain) return t =>
            Bounded(t.Replace(plain, content, StringComparison.Ordinal));
        var expression = UnigramFile.Text(pattern, "Regex")
            ?? throw new UserError($"{Source}: normalizer Replace: expected a pattern String or Regex");
        try
        {
            var regex = new Regex(expression, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
            return t => Bounded(regex.Replace(t, _ => content));
        }
        catch (Exception fault) when (fault is ArgumentException or NotSupportedException)
        {
            throw new UserError($"{Source}: normalizer Replace: the pattern \"{UnigramFile.Short(expression)}\" is not supported", fault);
        }
    }

    // A file must not blow a text up without end.
    private static string Bounded(string text) => text.Length <= 16 * UnigramTokenizer.MaxCharacters
        ? text
        : throw new UserError($"{Source}: normalizer Replace makes the text longer than {16 * UnigramTokenizer.MaxCharacters} characters");
}
