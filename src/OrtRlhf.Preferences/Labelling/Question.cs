using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using OrtRlhf.Learning;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>Candidates for one prompt that are shown together.</summary>
/// <param name="Id">The same for the same candidates, whatever their order: a server that starts again knows its questions.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Candidates">Their ids.</param>
/// <param name="IsCheck">Whether one of them was spoiled, to see whether the rater looks.</param>
public sealed record Question(string Id, string Prompt, IReadOnlyList<string> Candidates, bool IsCheck = false)
{
    /// <summary>The question of some candidates.</summary>
    public static Question Of(string prompt, IReadOnlyList<string> candidates, bool isCheck = false) =>
        new(IdOf(candidates), prompt, candidates, isCheck);

    /// <summary>The id of a question of these candidates.</summary>
    public static string IdOf(IEnumerable<string> candidates) =>
        Convert.ToHexStringLower(Hash(candidates.Order(StringComparer.Ordinal)))[..32];

    /// <summary>
    /// The questions of a store: the candidates of a prompt in groups of <paramref name="size"/>, in the order added. What is left over at
    /// a prompt's end makes a group with the
    /// prompt's first ones. Spoiled pictures are left out.
    /// </summary>
    /// <param name="candidates">All candidates.</param>
    /// <param name="size">Candidates of a question.</param>
    public static IReadOnlyList<Question> All(IEnumerable<Candidate> candidates, int size)
    {
        var groups = new List<(int Place, Question Question)>();
        foreach (var prompt in candidates.Where(candidate => !candidate.IsCheck).Index().GroupBy(entry => entry.Item.Prompt).Where(group =>
            group.Count() >= size))
        {
            var all = prompt.ToArray();
            foreach (var chunk in all.Chunk(size))
                groups.Add((chunk[^1].Index,
                    Of(prompt.Key, [.. chunk.Concat(all.Take(size - chunk.Length)).Select(entry => entry.Item.Id)])));
        }
        return [.. groups.OrderBy(group => group.Place).Select(group => group.Question)];
    }

    /// <summary>The candidates in the order that a rater sees: shuffled, the same each time.</summary>
    public string[] ShownTo(string rater)
    {
        var order = Candidates.Order(StringComparer.Ordinal).ToArray();
        new Philox(BinaryPrimitives.ReadUInt64LittleEndian(Hash([rater, Id])), 0, 0, 0).Shuffle<string>(order);
        return order;
    }

    private static byte[] Hash(IEnumerable<string> parts) => SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts)));
}
