using System.Text.RegularExpressions;

namespace OrtRlhf.Graph.Passes;

/// <summary>Globs over dotted module paths.</summary>
internal static class ModuleGlob
{
    /// <summary>Matches the ends of paths at whole names; * is a name or a part of one, ** any names.</summary>
    public static Predicate<string> Matcher(string pattern)
    {
        var body = Regex.Escape(pattern.Trim()).Replace(@"\*\*\.", @"(.*\.)?").Replace(@"\*\*", ".*").Replace(@"\*", @"[^.]*");
        var regex = new Regex($@"(^|\.){body}$", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
        return regex.IsMatch;
    }

    /// <summary>The ends of paths that are most like a glob, by edit distance, best first.</summary>
    public static IEnumerable<string> Near(string glob, IEnumerable<string> paths, int count)
    {
        var names = glob.Count(c => c == '.') + 1;
        return paths.Select(p => string.Join('.', p.Split('.').TakeLast(names))).Distinct().OrderBy(p => Distance(glob, p)).ThenBy(p =>
            p, StringComparer.Ordinal).Take(count);
    }

    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var above = row[j];
                row[j] = Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }
        return row[^1];
    }
}
