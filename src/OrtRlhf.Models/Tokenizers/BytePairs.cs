using System.Text;

namespace OrtRlhf.Models;

/// <summary>
/// Byte-pair encoding of a word: its bytes as letters, the last marked as the word's end, joined pair by pair in the order the merges were
/// learned.
/// Source: Sennrich et al., 2016; the byte letters are GPT-2's.
/// </summary>
internal sealed class BytePairs
{
    private const string End = "</w>";
    private static readonly string[] Letters = MakeLetters();
    private readonly Dictionary<(string, string), int> _ranks = [];

    /// <summary>Makes the encoding from merges, the first learned first.</summary>
    public BytePairs(IEnumerable<(string Left, string Right)> merges)
    {
        foreach (var merge in merges) _ranks.TryAdd(merge, _ranks.Count);
    }

    /// <summary>The tokens of a word.</summary>
    public List<string> Encode(string word)
    {
        var parts = Encoding.UTF8.GetBytes(word).Select(b => Letters[b]).ToList();
        parts[^1] += End;
        while (parts.Count > 1)
        {
            var best = int.MaxValue;
            (string, string) pair = default;
            for (var i = 1; i < parts.Count; i++)
                if (_ranks.TryGetValue((parts[i - 1], parts[i]), out var rank) && rank < best) (best, pair) = (rank,
                    (parts[i - 1], parts[i]));
            if (best == int.MaxValue) break;
            var joined = new List<string>(parts.Count);
            for (var i = 0; i < parts.Count; i++)
            {
                if (i + 1 < parts.Count && parts[i] == pair.Item1 && parts[i + 1] == pair.Item2) joined.Add(pair.Item1 + parts[++i]);
                else joined.Add(parts[i]);
            }
            parts = joined;
        }
        return parts;
    }

    // Printable bytes of Latin-1 stand for themselves, the others for the characters from 256 on.
    private static string[] MakeLetters()
    {
        var letters = new string[256];
        var next = 256;
        for (var b = 0; b < 256; b++)
        {
            var printable = b is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or >= 0xAE;
            letters[b] = ((char)(printable ? b : next++)).ToString();
        }
        return letters;
    }
}
