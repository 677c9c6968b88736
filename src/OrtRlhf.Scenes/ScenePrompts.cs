namespace OrtRlhf.Scenes;

/// <summary>
/// Prompt lists for tuning and for judging it. Pre-training sees every caption; tuning is kept from the held-out combinations: a
/// quarter of the colour-shape pairs for one subject, a quarter of the unordered pairs of subjects for two. No prompt names its
/// background, so that a reward may calm it.
/// </summary>
public static class ScenePrompts
{
    private static readonly SceneSize?[] Sizes = [null, SceneSize.Small, SceneSize.Large];
    private static readonly (int First, int Second)[] Counts = [(1, 1), (2, 1), (1, 2)];

    /// <summary>Prompts of a kind to tune on, in a fixed shuffled order.</summary>
    public static IReadOnlyList<string> Training(SceneKind kind) => List(kind, heldOut: false);

    /// <summary>Prompts of a kind that tuning never sees, in a fixed shuffled order.</summary>
    public static IReadOnlyList<string> HeldOut(SceneKind kind) => List(kind, heldOut: true);

    /// <summary>Whether a specification's combination of colours and shapes is kept for judging.</summary>
    public static bool IsHeldOut(SceneSpec spec)
    {
        var first = Subject(spec.First);
        if (spec.Second is null)
            // Of each shape's six colours one or two, a different choice for each shape.
            return ((int)spec.First.Colour + 3 * (int)spec.First.Shape) % 4 == 3;
        var second = Subject(spec.Second);
        var pair = Math.Min(first, second) * 24 + Math.Max(first, second);
        return new SceneRandom(0x5CE9E, (ulong)pair).Below(4) == 0;
    }

    private static int Subject(SceneGroup group) => (int)group.Colour * 4 + (int)group.Shape;

    private static string[] List(SceneKind kind, bool heldOut)
    {
        var prompts = All(kind).Where(spec => IsHeldOut(spec) == heldOut).Select(SceneCaption.Write).ToArray();
        var random = new SceneRandom(0x9A0317, (ulong)kind);
        for (var i = prompts.Length - 1; i > 0; i--)
        {
            var j = random.Below(i + 1);
            (prompts[i], prompts[j]) = (prompts[j], prompts[i]);
        }
        return prompts;
    }

    private static IEnumerable<SceneSpec> All(SceneKind kind)
    {
        var subjects = (
            from colour in Enum.GetValues<SceneColour>()
            from shape in Enum.GetValues<SceneShape>()
            select new SceneGroup(1, colour, shape)).ToArray();
        var pairs = from a in subjects from b in subjects where a != b select (a, b);
        return kind switch
        {
            SceneKind.SingleObject => from s in subjects from size in Sizes select new SceneSpec(s with { Size = size }),
            SceneKind.Counting =>
                from s in subjects
                from count in Enumerable.Range(2, 3)
                from size in Sizes
                where size != SceneSize.Large || count == 2
                select new SceneSpec(s with { Count = count, Size = size }),
            SceneKind.ColourAttribution => from p in pairs select new SceneSpec(p.a, SceneRelation.And, p.b),
            SceneKind.TwoObjects =>
                from p in pairs
                from relation in Enum.GetValues<SceneRelation>()
                where relation != SceneRelation.And
                from counts in Counts
                select new SceneSpec(p.a with { Count = counts.First }, relation, p.b with { Count = counts.Second }),
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
        };
    }
}
