using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>Pairs of scenes whose captions differ in one word that the other picture contradicts.</summary>
internal static class ScenePairs
{
    /// <summary>One scene of a pair, of a combination that tuning may see.</summary>
    /// <param name="seed">Seed of all pairs.</param>
    /// <param name="pair">Number of the pair.</param>
    /// <param name="second">Which of the two.</param>
    public static SceneSample Sample(ulong seed, ulong pair, bool second)
    {
        var first = Enumerable.Range(0, int.MaxValue).Select(i => SceneSampler.Sample(seed, (pair << 8) + (ulong)i)).First(s =>
            !ScenePrompts.IsHeldOut(s.Spec));
        if (!second) return first;
        for (uint attempt = 0; attempt < 32; attempt++)
        {
            var other = Changed(first.Spec, new Philox(seed, (uint)pair, attempt, 7));
            if (other == first.Spec || IsOneSubject(other) || ScenePrompts.IsHeldOut(other)) continue;
            if (TryCompose(other, seed + 1, pair) is { } scene) return new SceneSample(scene, other);
        }
        return SceneSampler.Sample(seed + 2, pair << 8);
    }

    /// <summary>A scene of a specification, or null when its objects do not fit.</summary>
    public static Scene? TryCompose(SceneSpec spec, ulong seed, ulong index)
    {
        try
        {
            return SceneSampler.Compose(spec, seed, index);
        }
        catch (UserError)
        {
            return null;
        }
    }

    /// <summary>
    /// The specification with one thing changed: a colour, shape, count, named size, relation of place or named background, or the two
    /// groups swapped.
    /// </summary>
    public static SceneSpec Changed(SceneSpec spec, Philox random)
    {
        var place = random.Below(2, 1) == 1 && spec.Second is not null;
        var group = place ? spec.Second! : spec.First;
        return random.Below(8) switch
        {
            0 or 1 => With(group with { Colour = (SceneColour)(((int)group.Colour + 1 + random.Below(5, 2)) % 6) }),
            2 or 3 => With(group with { Shape = (SceneShape)(((int)group.Shape + 1 + random.Below(3, 2)) % 4) }),
            4 => With(group with
            {
                Count = 1
                + ((group.Count + random.Below(spec.Second is null ? 3 : 1, 2)) % (spec.Second is null ? 4 : 2))
            }),
            5 => With(group with { Size = group.Size is { } size ? 1 - size : null }),
            6 => spec with { Texture = spec.Texture is { } t ? (SceneTexture)(((int)t + 1 + random.Below(4, 2)) % 5) : null },
            _ => spec.Relation is { } r and not SceneRelation.And ? spec with { Relation = Opposite(r) } : spec,
        };

        SceneSpec With(SceneGroup changed) => place ? spec with { Second = changed } : spec with { First = changed };
    }

    private static bool IsOneSubject(SceneSpec spec) =>
        spec.Second is { } b && b.Colour == spec.First.Colour && b.Shape == spec.First.Shape;

    private static SceneRelation Opposite(SceneRelation relation) => relation switch
    {
        SceneRelation.LeftOf => SceneRelation.RightOf,
        SceneRelation.RightOf => SceneRelation.LeftOf,
        SceneRelation.Above => SceneRelation.Below,
        _ => SceneRelation.Above,
    };
}
