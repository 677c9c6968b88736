using System.Globalization;
using System.Text;

namespace OrtRlhf.Models;

/// <summary>What CLIP's tokenizer does to a text before byte-pair encoding: cleaning, lower case, cutting into words.</summary>
internal static class ClipText
{
    private static readonly string[] Contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    /// <summary>
    /// Lower case, one space between words: control characters are dropped, all kinds of space become one, and Chinese characters
    /// stand alone (as transformers does without the library ftfy).
    /// </summary>
    public static string Clean(string text)
    {
        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (IsSpace(rune)) result.Append(' ');
            else if (rune.Value is 0 or 0xFFFD || IsControl(rune)) continue;
            else if (IsChinese(rune.Value)) result.Append(' ').Append(rune).Append(' ');
            else result.Append(rune);
        }
        var composed = Composition.Compose(result.ToString());
        return string.Join(' ', composed.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Lower));
    }

    /// <summary>
    /// Cuts a cleaned text into words: special tokens, English contractions, runs of letters, single digits, runs of other characters.
    /// </summary>
    public static IEnumerable<string> Words(string text, IReadOnlyCollection<string> specials)
    {
        for (var at = 0; at < text.Length;)
        {
            if (text[at] == ' ')
            {
                at++;
                continue;
            }
            var length = specials.Concat(Contractions).FirstOrDefault(s => string.CompareOrdinal(text, at, s, 0, s.Length) == 0)?.Length
                ?? Run(text, at);
            yield return text.Substring(at, length);
            at += length;
        }
    }

    private static int Run(string text, int start)
    {
        var kind = KindOf(Rune.GetRuneAt(text, start));
        var end = start;
        do end += Rune.GetRuneAt(text, end).Utf16SequenceLength;
        while (kind != Kind.Digit && end < text.Length && text[end] != ' ' && KindOf(Rune.GetRuneAt(text, end)) == kind);
        return end - start;
    }

    private static Kind KindOf(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        <= UnicodeCategory.OtherLetter => Kind.Letter,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber => Kind.Digit,
        _ => Kind.Other,
    };

    private static bool IsSpace(Rune rune) => rune.Value is '\t' or '\n' or '\r'
        || Rune.GetUnicodeCategory(
            rune) is UnicodeCategory.SpaceSeparator or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;

    private static bool IsControl(Rune rune) => Rune.GetUnicodeCategory(rune)
        is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;

    private static bool IsChinese(int c) => c
        is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF) or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2CEAF)
        or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    // Two letters have a lower case that is not one character for one: the dotted capital I, and sigma at the end of a word.
    private static string Lower(string word)
    {
        var lower = word.ToLowerInvariant().Replace("\u0130", "i\u0307");
        for (var i = lower.IndexOf('σ'); i >= 0; i = lower.IndexOf('σ', i + 1))
        {
            var wasCapital = i < word.Length && word[i] == 'Σ';
            if (wasCapital && i > 0 && char.IsLetter(lower[i - 1]) && (i + 1 == lower.Length || !char.IsLetter(lower[i + 1]))) lower =
                string.Concat(lower.AsSpan(0, i), "ς", lower.AsSpan(i + 1));
        }
        return lower;
    }

    private enum Kind
    {
        Letter,
        Digit,
        Other,
    }
}
