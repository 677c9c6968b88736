using OrtRlhf.Graph;

namespace OrtRlhf.Scenes;

/// <summary>A drawn-up scene and the caption it satisfies.</summary>
/// <param name="Scene">The picture as data.</param>
/// <param name="Spec">What its caption asks.</param>
public sealed record SceneSample(Scene Scene, SceneSpec Spec)
{
    /// <summary>The caption's text.</summary>
    public string Caption => SceneCaption.Write(Spec);
}

/// <summary>
/// Scenes with captions, each a function of (seed, index) alone: any order, batch or thread gives the same ones.
/// Whatever a caption leaves out is free: size, background, place.
/// </summary>
public static class SceneSampler
{
    private const float SizeNamed = 0.45f;
    private const float TextureNamed = 0.25f;

    /// <summary>
    /// Share of each kind in <see cref="Sample(ulong, ulong)"/>: 40% single, 30% two objects, 20% counting, 10% attribution.
    /// </summary>
    private static readonly (SceneKind Kind, float UpTo)[] Mix =
    [
        (SceneKind.SingleObject, 0.40f), (SceneKind.TwoObjects, 0.70f), (SceneKind.Counting, 0.90f), (SceneKind.ColourAttribution, 1),
    ];

    /// <summary>The scene of that number in the training mix.</summary>
    public static SceneSample Sample(ulong seed, ulong index)
    {
        var random = new SceneRandom(seed, index);
        var draw = random.NextFloat();
        return Sample(ref random, Array.Find(Mix, share => draw < share.UpTo).Kind);
    }

    /// <summary>The scene of that number among those of one kind.</summary>
    public static SceneSample Sample(ulong seed, ulong index, SceneKind kind)
    {
        var random = new SceneRandom(seed, index);
        return Sample(ref random, kind);
    }

    /// <summary>A scene that satisfies a given specification, the same one for the same seed and index.</summary>
    /// <exception cref="UserError">The objects do not fit in the picture, such as four large ones beside four large ones.</exception>
    public static Scene Compose(SceneSpec spec, ulong seed, ulong index)
    {
        var random = new SceneRandom(seed, index);
        return Compose(ref random, spec);
    }

    private static SceneSample Sample(ref SceneRandom random, SceneKind kind)
    {
        var spec = SampleSpec(ref random, kind);
        return new SceneSample(Compose(ref random, spec), spec);
    }

    private static SceneSpec SampleSpec(ref SceneRandom random, SceneKind kind)
    {
        SceneTexture? texture = random.Chance(TextureNamed) ? Any<SceneTexture>(ref random) : null;
        if (kind is SceneKind.SingleObject or SceneKind.Counting)
        {
            var count = kind == SceneKind.Counting ? 2 + random.Below(3) : 1;
            return new SceneSpec(Group(ref random, count, count), Texture: texture);
        }

        var relation = kind == SceneKind.ColourAttribution ? SceneRelation.And : (SceneRelation)(1 + random.Below(4));
        // One pair in three has two of one side, so that "two small red circles left of a large blue square" is understood too.
        var (firstCount, secondCount) = random.Below(6) switch { 0 => (2, 1), 1 => (1, 2), _ => (1, 1) };
        var total = firstCount + secondCount;
        var first = Group(ref random, firstCount, total);
        SceneGroup second;
        do
            second = Group(ref random, secondCount, total);
        while (second.Colour == first.Colour && second.Shape == first.Shape);
        return new SceneSpec(first, relation, second, texture);
    }

    private static SceneGroup Group(ref SceneRandom random, int count, int total)
    {
        var (colour, shape) = (Any<SceneColour>(ref random), Any<SceneShape>(ref random));
        var size = ScenePlacement.AnySize(ref random, count, total);
        return new SceneGroup(count, colour, shape, random.Chance(SizeNamed) ? size : null);
    }

    private static Scene Compose(ref SceneRandom random, SceneSpec spec)
    {
        var background = SampleBackground(ref random, spec.Texture ?? Any<SceneTexture>(ref random));
        var objects = ScenePlacement.TryPlace(ref random, spec) ?? throw new UserError(
            $"scene \"{SceneCaption.Write(spec)}\": expected objects that fit in {Scene.Side}x{Scene.Side} pixels, got " +
            $"{spec.ObjectCount} of these sizes; name fewer or small ones");
        return new Scene(objects, background);
    }

    private static SceneBackground SampleBackground(ref SceneRandom random, SceneTexture texture)
    {
        var light = random.Between(185, 245);
        var (contrast, pitch) = texture switch
        {
            SceneTexture.Gradient => (random.Between(60, 100), 0f),
            SceneTexture.Checkered => (random.Between(35, 60), random.Between(16, 24)),
            SceneTexture.Dotted => (random.Between(40, 65), random.Between(14, 18)),
            _ => (random.Between(35, 60), random.Between(12, 18)),
        };
        var direction = texture == SceneTexture.Striped ? 2 * random.Below(2) : random.Below(8);
        return new SceneBackground(
            texture, light, light - contrast, random.Between(-7, 7), pitch, direction,
            random.Between(0, 16), random.Between(0, 16), random.Chance(0.5f));
    }

    private static T Any<T>(ref SceneRandom random) where T : struct, Enum
    {
        var values = Enum.GetValues<T>();
        return values[random.Below(values.Length)];
    }
}
