using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// What SentencePiece compiles its normalisation into (precompiled_charsmap, NFKC and more): a double array that finds the beginnings of a
/// text, as UTF-8, that are
/// replaced, and the texts that stand for them. Layout: bytes of the array (uint32), the array (uint32 each), texts that end with a zero.
/// All little endian.
/// </summary>
internal sealed class CharacterMap
{
    // What is looked up whole; longer clusters go character by character, as the reference does.
    private const int LongestCluster = 6;

    private readonly uint[] _array;
    private readonly byte[] _texts;

    /// <summary>Reads a map.</summary>
    /// <param name="bytes">Its bytes.</param>
    /// <exception cref="UserError">The array does not fit into them.</exception>
    public CharacterMap(byte[] bytes)
    {
        var size = bytes.Length < 4 ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (size % 4 != 0 || size > bytes.Length
            - 4) throw new UserError("tokenizer.json: precompiled_charsmap is cut off; fetch the file again");
        _array = new uint[size / 4];
        for (var i = 0; i < _array.Length; i++) _array[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4 + (i * 4)));
        _texts = bytes[(4 + (int)size)..];
    }

    /// <summary>The text with all replacements made: of clusters of letters and marks, else of single characters.</summary>
    public string Apply(string text)
    {
        var result = new StringBuilder(text.Length);
        var clusters = StringInfo.GetTextElementEnumerator(text);
        while (clusters.MoveNext())
        {
            var cluster = clusters.GetTextElement();
            if (Encoding.UTF8.GetByteCount(cluster) < LongestCluster && Find(cluster) is { } whole)
            {
                result.Append(whole);
                continue;
            }
            foreach (var rune in cluster.EnumerateRunes()) result.Append(Find(rune.ToString()) ?? rune.ToString());
        }
        return result.ToString();
    }

    /// <summary>What stands for the shortest beginning of a text that is replaced; null where none is.</summary>
    private string? Find(string text)
    {
        if (_array.Length == 0) return null;
        var at = Offset(_array[0]);
        foreach (var c in Encoding.UTF8.GetBytes(text))
        {
            at ^= c;
            if (c == 0 || at >= _array.Length || (_array[at] & 0x800000FF) != c) return null;
            var unit = _array[at];
            at ^= Offset(unit);
            if ((unit >> 8 & 1) == 0) continue;
            var start = at < _array.Length ? _array[at] & 0x7FFFFFFF : uint.MaxValue;
            if (start >= _texts.Length) return null;
            var rest = _texts.AsSpan((int)start);
            return Encoding.UTF8.GetString(rest.IndexOf((byte)0) is >= 0 and var end ? rest[..end] : rest);
        }
        return null;
    }

    private static uint Offset(uint unit) => unit >> 10 << (int)((unit & 0x200) >> 6);
}
