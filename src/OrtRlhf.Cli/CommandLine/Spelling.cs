namespace OrtRlhf.Cli.CommandLine;

/// <summary>What a mistyped word may have meant.</summary>
internal static class Spelling
{
    /// <summary>
    /// The known word nearest to a text by edit distance (Levenshtein; one that begins with the text counts as one edit away); null when
    /// none is near,
    /// within a third of the text's length or 2.
    /// </summary>
    /// <param name="text">What was typed.</param>
    /// <param name="known">The words there are.</param>
    public static string? Closest(string text, IEnumerable<string> known)
    {
        var best = known.Select(word => (Word: word, Distance: Distance(text, word))).OrderBy(entry => entry.Distance).FirstOrDefault();
        return best.Word is not null && best.Distance <= Math.Max(2, text.Length / 3) ? best.Word : null;
    }

    private static int Distance(string a, string b)
    {
        if (a.Length > 1 && b.StartsWith(a, StringComparison.OrdinalIgnoreCase)) return a.Length == b.Length ? 0 : 1;
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replace = diagonal + (char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replace, Math.Min(row[j], row[j - 1]) + 1);
            }
        }
        return row[^1];
    }
}
