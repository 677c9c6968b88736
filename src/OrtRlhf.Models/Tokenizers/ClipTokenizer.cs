using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// CLIP's byte-pair tokenizer, from <c>vocab.json</c>, <c>merges.txt</c> and what <c>tokenizer_config.json</c> and
/// <c>special_tokens_map.json</c> say
/// about special tokens. A special token is split off wherever its text stands, before anything else: with the pad token <c>!</c> of
/// Stable Diffusion 2, every exclamation mark becomes the pad token.
/// </summary>
/// <remarks>
/// Microsoft.ML.Tokenizers 2.0.1 does not take its place. Its BpeTokenizer with byte letters, lower case, CLIP's expression and special
/// tokens gives other ids for 5,633 of 10,000 random Unicode texts (CLIP's own vocabulary). The first is <c>"j\u036A 11129 \uD835\uDEFC
/// \uFEFFa\u0323\u0302\n"</c>: here 49406 329 137 359 272 272 272 273 280 6874 249 376 157 118 511 49407, there 49406 329 137 359 272 272
/// 272 273 280 6874 249 376 171 119 379 320 136 96 136 480 49407: nothing cleans the text. Behind <see cref="ClipText.Clean"/> it is 731
/// texts, the first <c>"\uD835\uDF68\uD835\uDC4ADPnuli\u0302 dbX\uD55C\uAD6D\uC5B4\u0085a photo of a cat "</c>: here 49406 6874 251 101
/// 43794 232 67 14431 914 127 362 19100 87 15197 250 31871 255 31625 112 320 1125 539 320 2368 49407, there 488 for 232: to .NET's
/// expressions letters beyond 16 bits are none.
/// </remarks>
public sealed class ClipTokenizer
{
    /// <summary>Longest text that is taken, in characters.</summary>
    public const int MaxCharacters = 65536;

    private readonly Dictionary<string, long> _vocabulary;
    private readonly BytePairs _pairs;
    private readonly string[] _specials;
    private readonly long _unknown;

    /// <summary>Makes a tokenizer.</summary>
    /// <param name="vocabulary">Tokens and their ids.</param>
    /// <param name="merges">Pairs to join, the first learned first.</param>
    /// <param name="special">Special tokens.</param>
    /// <exception cref="UserError">A special token is not in the vocabulary, or the length is below 2.</exception>
    public ClipTokenizer(IReadOnlyDictionary<string, long> vocabulary, IEnumerable<(string Left, string Right)> merges,
        ClipSpecialTokens special)
    {
        _vocabulary = new Dictionary<string, long>(vocabulary, StringComparer.Ordinal);
        foreach (var (token, id) in special.Added) _vocabulary.TryAdd(token, id);
        _pairs = new BytePairs(merges);
        (StartId, EndId, PadId, _unknown) = (Id(special.Start, "bos_token"), Id(special.End, "eos_token"), Id(special.Pad, "pad_token"),
            Id(special.Unknown, "unk_token"));
        string[] names = [special.Start, special.End, special.Pad, special.Unknown, .. special.Additional];
        // The longest first, as the trie of the reference finds them.
        _specials = [.. names.Where(n => n.Length > 0).Distinct().OrderByDescending(n => n.Length)];
        MaxLength = special.MaxLength >= 2 ? special.MaxLength
            : throw new UserError($"tokenizer: expected a model_max_length of at least 2, got {special.MaxLength}");

        long Id(string token, string key) => _vocabulary.TryGetValue(token, out var id) ? id
            : throw new UserError($"tokenizer: {key} '{token}' is not in vocab.json; the files do not belong together");
    }

    /// <summary>Tokens in the ids of a text, start, end and padding included.</summary>
    public int MaxLength { get; }

    /// <summary>Id of the start token.</summary>
    public long StartId { get; }

    /// <summary>Id of the end token.</summary>
    public long EndId { get; }

    /// <summary>Id of the padding token.</summary>
    public long PadId { get; }

    /// <summary>Reads a tokenizer folder of a checkpoint.</summary>
    /// <exception cref="UserError">A file is missing, too large or not valid.</exception>
    public static ClipTokenizer Open(string folder) => ClipTokenizerFiles.Open(folder);

    /// <summary>The ids of a text: start, tokens, end, cut to <see cref="MaxLength"/> and filled up with padding.</summary>
    /// <exception cref="UserError">The text is longer than <see cref="MaxCharacters"/>.</exception>
    public long[] Encode(string text)
    {
        var ids = EncodeUnpadded(text);
        return [.. ids, .. Enumerable.Repeat(PadId, MaxLength - ids.Count)];
    }

    /// <summary>The ids of a text without padding: start, tokens, end, cut to <see cref="MaxLength"/>.</summary>
    /// <exception cref="UserError">The text is longer than <see cref="MaxCharacters"/>.</exception>
    public List<long> EncodeUnpadded(string text)
    {
        if (text.Length > MaxCharacters) throw new UserError(
            $"tokenizer: expected a text of at most {MaxCharacters} characters, got {text.Length}");
        return [StartId, .. Tokens(text).Take(MaxLength - 2), EndId];
    }

    /// <summary>The ids of several texts as a tensor int64 [B, <see cref="MaxLength"/>].</summary>
    public Tensor Encode(IReadOnlyList<string> texts) => Tensor.Of(texts.SelectMany(Encode).ToArray().AsSpan(), texts.Count, MaxLength);

    private IEnumerable<long> Tokens(string text)
    {
        foreach (var (part, isSpecial) in Parts(text))
        {
            if (isSpecial)
            {
                yield return _vocabulary[part];
                continue;
            }
            foreach (var word in ClipText.Words(ClipText.Clean(part),
                [.. _specials.Where(s => s.StartsWith("<|", StringComparison.Ordinal))]))
            {
                if (_specials.Contains(word) && word.StartsWith("<|", StringComparison.Ordinal)) yield return _vocabulary[word];
                else foreach (var token in _pairs.Encode(word)) yield return _vocabulary.GetValueOrDefault(token, _unknown);
            }
        }
    }

    private IEnumerable<(string Part, bool IsSpecial)> Parts(string text)
    {
        var start = 0;
        for (var at = 0; at < text.Length;)
        {
            var special = _specials.FirstOrDefault(s => string.CompareOrdinal(text, at, s, 0, s.Length) == 0);
            if (special is null)
            {
                at++;
                continue;
            }
            if (at > start) yield return (text[start..at], false);
            yield return (special, true);
            start = at += special.Length;
        }
        if (start < text.Length) yield return (text[start..], false);
    }
}

/// <summary>The special tokens of a tokenizer.</summary>
/// <param name="Start">Stands in front of every text (bos_token).</param>
/// <param name="End">Stands behind every text (eos_token).</param>
/// <param name="Pad">Fills up (pad_token).</param>
/// <param name="Unknown">Stands for what the vocabulary does not have (unk_token).</param>
/// <param name="MaxLength">Longest row of ids (model_max_length).</param>
public sealed record ClipSpecialTokens(string Start = "<|startoftext|>", string End = "<|endoftext|>", string Pad = "<|endoftext|>",
    string Unknown = "<|endoftext|>", int MaxLength = 77)
{
    /// <summary>Further special tokens.</summary>
    public IReadOnlyList<string> Additional { get; init; } = [];

    /// <summary>Tokens beside the vocabulary and their ids.</summary>
    public IReadOnlyDictionary<string, long> Added { get; init; } = new Dictionary<string, long>();
}
