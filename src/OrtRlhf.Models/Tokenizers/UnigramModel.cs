using System.Text;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// Cuts a text into the pieces of a vocabulary whose scores (log probabilities) have the largest sum, by dynamic programming. Source: Kudo,
/// 2018.
/// </summary>
internal sealed class UnigramModel
{
    private const double UnknownPenalty = 10;

    private readonly Dictionary<string, long> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<(int Node, char Next), int> _next = [];
    private readonly List<int> _ends = [-1];
    private readonly IReadOnlyList<(string Piece, double Score)> _pieces;
    private readonly long[]? _bytes;
    private readonly int? _unknown;
    private readonly double _unknownScore;

    /// <summary>Makes a model.</summary>
    /// <param name="pieces">Pieces and their scores; the place is the id.</param>
    /// <param name="unknown">Id for what no piece covers; null for none.</param>
    /// <param name="bytes">Whether what no piece covers is written as bytes, where the vocabulary has all of them.</param>
    public UnigramModel(IReadOnlyList<(string Piece, double Score)> pieces, int? unknown, bool bytes)
    {
        (_pieces, _unknown) = (pieces, unknown);
        for (var i = 0; i < pieces.Count; i++)
        {
            _ids[pieces[i].Piece] = i;
            if (pieces[i].Piece.Length > 0) Add(pieces[i].Piece, i);
        }
        _unknownScore = (pieces.Count == 0 ? 0 : pieces.Min(p => p.Score)) - UnknownPenalty;
        if (bytes) _bytes = [.. Enumerable.Range(0, 256).Select(b => _ids.GetValueOrDefault($"<0x{b:X2}>", -1))];
    }

    /// <summary>The id of a piece; null where there is none.</summary>
    public long? IdOf(string piece) => _ids.TryGetValue(piece, out var id) ? id : null;

    /// <summary>The ids of a text.</summary>
    /// <exception cref="UserError">A character has no piece and the model no token for such.</exception>
    public IEnumerable<long> Encode(string text)
    {
        foreach (var piece in Pieces(text))
        {
            if (_ids.TryGetValue(piece, out var id)) yield return id;
            else if (_bytes is not null && Encoding.UTF8.GetBytes(piece) is var raw && Array.TrueForAll(raw, b => _bytes[b] >= 0))
            {
                foreach (var b in raw) yield return _bytes[b];
            }
            else yield return _unknown
                ?? throw new UserError($"tokenizer: '{piece}' is not in the vocabulary, and tokenizer.json has no unk_id");
        }
    }

    private List<string> Pieces(string text)
    {
        // The best way to each place: its score, where its last piece begins, and whether that is known.
        var best = new (double Score, int Start, bool Known)[text.Length + 1];
        for (var i = 1; i < best.Length; i++) best[i] = (double.NegativeInfinity, -1, false);
        for (var at = 0; at < text.Length;)
        {
            var width = Rune.TryGetRuneAt(text, at, out var rune) ? rune.Utf16SequenceLength : 1;
            var single = false;
            for (int end = at, node = 0; end < text.Length && _next.TryGetValue((node, text[end]), out node);)
            {
                end++;
                if (_ends[node] is not (>= 0 and var id)) continue;
                Offer(at, end, _pieces[id].Score, id != _unknown);
                single |= end - at == width;
            }
            if (!single) Offer(at, at + width, _unknownScore, false);
            at += width;
        }
        var pieces = new List<string>();
        for (var end = text.Length; end > 0;)
        {
            var start = best[end].Start;
            // Unknown pieces side by side are one.
            while (!best[end].Known && start > 0 && !best[start].Known) start = best[start].Start;
            pieces.Add(text[start..end]);
            end = start;
        }
        pieces.Reverse();
        return pieces;

        void Offer(int from, int to, double score, bool known)
        {
            var sum = best[from].Score + score;
            if (best[to].Start < 0 || sum > best[to].Score) best[to] = (sum, from, known);
        }
    }

    private void Add(string piece, int id)
    {
        var node = 0;
        foreach (var c in piece)
        {
            if (!_next.TryGetValue((node, c), out var next))
            {
                _next[(node, c)] = next = _ends.Count;
                _ends.Add(-1);
            }
            node = next;
        }
        _ends[node] = id;
    }
}
