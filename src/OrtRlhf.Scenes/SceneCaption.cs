using System.Text;

namespace OrtRlhf.Scenes;

/// <summary>
/// The captions' grammar, in both directions. Words are lower case and single-spaced when written; reading ignores case and extra spaces.
/// <code>
/// caption    = group [relation group] ["on a" texture "background"]
/// group      = ("a" | "two" | "three" | "four") ["small" | "large"] colour shape      (plural shape from two on)
/// relation   = "left of" | "right of" | "above" | "below" | "and"
/// colour     = "red" | "yellow" | "green" | "cyan" | "blue" | "magenta"
/// shape      = "circle" | "square" | "triangle" | "cross"
/// texture    = "plain" | "striped" | "checkered" | "dotted" | "gradient"
/// </code>
/// Two groups differ in colour or shape; otherwise one could not tell which is which.
/// </summary>
public static class SceneCaption
{
    /// <summary>The grammar in one line, for messages that reject a prompt.</summary>
    public const string Grammar =
        "\"(a|two|three|four) [small|large] COLOUR SHAPE [(left of|right of|above|below|and) ...] [on a TEXTURE background]\", " +
        "such as \"two small red circles left of a large blue square\"";

    private static readonly string[] Counts = ["a", "two", "three", "four"];
    private static readonly string[] Relations = ["and", "left of", "right of", "above", "below"];

    /// <summary>Every word of the grammar once, in a fixed order.</summary>
    public static IReadOnlyList<string> Words { get; } =
    [
        .. Counts, .. Names<SceneSize>(), .. Names<SceneColour>(),
        .. Enum.GetValues<SceneShape>().SelectMany(shape => new[] { Name(shape, 1), Name(shape, 2) }),
        .. Relations.SelectMany(relation => relation.Split(' ')).Distinct(),
        "on", .. Names<SceneTexture>(), "background",
    ];

    /// <summary>The caption of a specification.</summary>
    public static string Write(SceneSpec spec)
    {
        var text = new StringBuilder();
        Append(text, spec.First);
        if (spec is { Relation: { } relation, Second: { } second })
        {
            text.Append(' ').Append(Relations[(int)relation]).Append(' ');
            Append(text, second);
        }
        if (spec.Texture is { } texture)
            text.Append(" on a ").Append(Name(texture)).Append(" background");
        return text.ToString();
    }

    /// <summary>Reads a caption; null when the text is outside the grammar.</summary>
    public static SceneSpec? Parse(string text)
    {
        var words = new Queue<string>(text.ToLowerInvariant().Split(' ', StringSplitOptions.RemoveEmptyEntries));
        if (ReadGroup(words) is not { } first)
            return null;
        SceneRelation? relation = null;
        SceneGroup? second = null;
        if (words.TryPeek(out var next) && next != "on")
        {
            relation = ReadRelation(words);
            second = relation is null ? null : ReadGroup(words);
            if (second is null || (second.Colour == first.Colour && second.Shape == first.Shape))
                return null;
        }
        SceneTexture? texture = null;
        if (words.Count > 0)
        {
            if (!Take(words, "on") || !Take(words, "a") || (texture = ReadName<SceneTexture>(words)) is null
                || !Take(words, "background"))
                return null;
        }
        return words.Count == 0 ? new SceneSpec(first, relation, second, texture) : null;
    }

    private static void Append(StringBuilder text, SceneGroup group)
    {
        text.Append(Counts[group.Count - 1]).Append(' ');
        if (group.Size is { } size)
            text.Append(Name(size)).Append(' ');
        text.Append(Name(group.Colour)).Append(' ').Append(Name(group.Shape, group.Count));
    }

    private static SceneGroup? ReadGroup(Queue<string> words)
    {
        if (!words.TryDequeue(out var countWord) || Array.IndexOf(Counts, countWord) + 1 is not (> 0 and var count))
            return null;
        var size = ReadName<SceneSize>(words);
        if (ReadName<SceneColour>(words) is not { } colour || !words.TryDequeue(out var noun))
            return null;
        foreach (var shape in Enum.GetValues<SceneShape>())
            if (noun == Name(shape, count))
                return new SceneGroup(count, colour, shape, size);
        return null;
    }

    private static SceneRelation? ReadRelation(Queue<string> words)
    {
        var phrase = words.Dequeue();
        if (phrase is "left" or "right")
            phrase = Take(words, "of") ? phrase + " of" : "";
        var index = Array.IndexOf(Relations, phrase);
        return index < 0 ? null : (SceneRelation)index;
    }

    private static T? ReadName<T>(Queue<string> words) where T : struct, Enum
    {
        if (words.TryPeek(out var word))
            foreach (var value in Enum.GetValues<T>())
                if (Name(value) == word)
                {
                    words.Dequeue();
                    return value;
                }
        return null;
    }

    private static bool Take(Queue<string> words, string expected) =>
        words.TryDequeue(out var word) && word == expected;

    private static IEnumerable<string> Names<T>() where T : struct, Enum => Enum.GetValues<T>().Select(Name);

    private static string Name<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static string Name(SceneShape shape, int count) =>
        count == 1 ? Name(shape) : Name(shape) + (shape == SceneShape.Cross ? "es" : "s");
}
