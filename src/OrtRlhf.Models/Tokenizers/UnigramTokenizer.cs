using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// T5's tokenizer: a text is normalised, cut into words that begin with a mark for the space before them, and each word into the pieces of
/// the highest
/// probability; the end token follows. Read from tokenizer.json, as transformers writes it.
/// </summary>
/// <remarks>
/// Microsoft.ML.Tokenizers 2.0.1 does not take its place. Its SentencePieceTokenizer, given T5's pieces and character map, gives other
/// ids for 9,003 of 10,000 random Unicode texts; the first is <c>"j\u036A 11129 \uD835\uDEFC \uFEFFa\u0323\u0302\n"</c>: here 1086 2
/// 13941 1524 13175 8 2 8 1, there 1086 2 13941 1524 13175 8 2 1. It drops spaces at the end, and does not join unknown pieces side by
/// side. As <see cref="UnigramModel"/> alone, behind our steps, 6,970 texts differ, and 389 still when its unknown pieces are joined.
/// </remarks>
public sealed class UnigramTokenizer
{
    /// <summary>The file it is read from.</summary>
    public const string FileName = "tokenizer.json";

    /// <summary>Longest text that is taken, in characters.</summary>
    public const int MaxCharacters = 65536;

    private readonly UnigramModel _model;
    private readonly UnigramFile _file;
    private readonly AddedToken[] _added;

    internal UnigramTokenizer(UnigramFile file)
    {
        _file = file;
        _model = new UnigramModel(file.Pieces, file.Unknown, file.ByteFallback);
        // The longest first, as the reference finds them.
        _added = [.. file.Added.Where(a => a.Content.Length > 0).OrderByDescending(a => a.Content.Length)];
        PadId = Find(file.Pad)
            ?? throw new UserError($"tokenizer: pad_token '{file.Pad}' is not in {FileName}; the files do not belong together");
    }

    /// <summary>Most tokens of a text, those before and behind it included (model_max_length).</summary>
    public int MaxLength => _file.MaxLength;

    /// <summary>Id of the padding token.</summary>
    public long PadId { get; }

    /// <summary>Reads a tokenizer folder of a checkpoint.</summary>
    /// <exception cref="UserError">A file is missing, too large or not valid, or has a step that is not supported (names it).</exception>
    public static UnigramTokenizer Open(string folder) => new(UnigramFile.Open(folder));

    /// <summary>The ids of a text: tokens and end, cut to a length and filled up with padding.</summary>
    /// <param name="text">The text.</param>
    /// <param name="length">Length of the row; null for <see cref="MaxLength"/>.</param>
    /// <exception cref="UserError">The text is longer than <see cref="MaxCharacters"/>, or the length leaves no room for the
    /// end.</exception>
    public long[] Encode(string text, int? length = null)
    {
        var ids = EncodeUnpadded(text, length);
        return [.. ids, .. Enumerable.Repeat(PadId, (length ?? MaxLength) - ids.Count)];
    }

    /// <summary>The ids of a text without padding: tokens and end, cut to a length.</summary>
    /// <param name="text">The text.</param>
    /// <param name="length">Most ids; null for <see cref="MaxLength"/>.</param>
    /// <exception cref="UserError">As <see cref="Encode(string, int?)"/>.</exception>
    public List<long> EncodeUnpadded(string text, int? length = null)
    {
        if (text.Length > MaxCharacters) throw new UserError(
            $"tokenizer: expected a text of at most {MaxCharacters} characters, got {text.Length}");
        var room = (length ?? MaxLength) - _file.Before.Count - _file.Behind.Count;
        if (room < 0) throw new UserError(
            $"tokenizer: expected a length of at least {_file.Before.Count + _file.Behind.Count}, got {length}");
        return [.. _file.Before, .. Tokens(text).Take(room), .. _file.Behind];
    }

    /// <summary>The ids of several texts as a tensor int64 [B, length].</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="length">Length of a row; null for <see cref="MaxLength"/>.</param>
    /// <exception cref="UserError">As <see cref="Encode(string, int?)"/>.</exception>
    public Tensor Encode(IReadOnlyList<string> texts, int? length = null) =>
        Tensor.Of(texts.SelectMany(t => Encode(t, length)).ToArray().AsSpan(), texts.Count, length ?? MaxLength);

    private long? Find(string token) => _file.Added.FirstOrDefault(a => a.Content == token)?.Id ?? _model.IdOf(token);

    private IEnumerable<long> Tokens(string text)
    {
        var start = 0;
        for (var at = 0; at < text.Length;)
        {
            var token = Array.Find(_added, a => string.CompareOrdinal(text, at, a.Content, 0, a.Content.Length) == 0);
            if (token is null)
            {
                at++;
                continue;
            }
            var (end, next) = (at, at + token.Content.Length);
            while (token.StripsLeft && end > start && char.IsWhiteSpace(text[end - 1])) end--;
            while (token.StripsRight && next < text.Length && char.IsWhiteSpace(text[next])) next++;
            foreach (var id in Plain(text[start..end], start == 0)) yield return id;
            yield return token.Id;
            start = at = next;
        }
        foreach (var id in Plain(text[start..], start == 0)) yield return id;
    }

    private IEnumerable<long> Plain(string text, bool first)
    {
        if (text.Length == 0) return [];
        foreach (var step in _file.Normalizers) text = step(text);
        IEnumerable<(string Text, bool First)> words = text.Length == 0 ? [] : [(text, first)];
        foreach (var step in _file.PreTokenizers) words = [.. words.SelectMany(w =>
            step(w.Text, w.First).Select((word, i) => (word, w.First && i == 0)))];
        return words.SelectMany(w => _model.Encode(w.Text));
    }
}

/// <summary>A token that is found in the text before all else.</summary>
internal sealed record AddedToken(string Content, long Id, bool StripsLeft, bool StripsRight);
