namespace OrtRlhf.Scenes;

/// <summary>
/// Sizes and places for the objects of a specification, by rejection. Two groups (or two objects) are first parted by a line across a
/// random or the named axis, without which two large objects would almost never fit.
/// </summary>
internal static class ScenePlacement
{
    private const int Attempts = 4000;
    private const int AttemptsPerObject = 12;

    /// <summary>
    /// How much farther apart along the relation's axis than across it the groups' centres are: no caption is a close call.
    /// </summary>
    private const float Dominance = 1.25f;

    private readonly record struct Box(float Left, float Top, float Right, float Bottom);

    /// <summary>The size of a group when free: large only where the picture has room for it.</summary>
    public static SceneSize AnySize(ref SceneRandom random, int count, int total) =>
        random.Chance(0.5f) && (count == 1 ? total <= 3 : count == 2 && total == 2) ? SceneSize.Large : SceneSize.Small;

    public static SceneObject[]? TryPlace(ref SceneRandom random, SceneSpec spec)
    {
        var sizes = new SceneSize[2];
        for (var g = 0; g < spec.Groups.Count; g++)
            sizes[g] = spec.Groups[g].Size ?? AnySize(ref random, spec.Groups[g].Count, spec.ObjectCount);
        for (var attempt = 0; attempt < Attempts; attempt++)
        {
            var objects = new SceneObject[spec.ObjectCount];
            for (var i = 0; i < objects.Length; i++)
            {
                var g = i < spec.First.Count ? 0 : 1;
                var extent = sizes[g] == SceneSize.Large ? random.Between(25, 28) : random.Between(15, 17);
                objects[i] = new SceneObject(spec.Groups[g].Shape, spec.Groups[g].Colour, sizes[g], 0, 0, extent);
            }
            if (TryArrange(ref random, spec, objects))
                return objects;
        }
        return null;
    }

    private static bool TryArrange(ref SceneRandom random, SceneSpec spec, SceneObject[] objects)
    {
        var whole = new Box(Scene.Margin, Scene.Margin, Scene.Side - Scene.Margin, Scene.Side - Scene.Margin);
        var (first, second) = (whole, whole);
        var split = spec.Second is not null ? spec.First.Count : objects.Length == 2 ? 1 : objects.Length;
        if (split < objects.Length)
        {
            var horizontal = spec.Relation switch
            {
                SceneRelation.LeftOf or SceneRelation.RightOf => true,
                SceneRelation.Above or SceneRelation.Below => false,
                _ => random.Chance(0.5f),
            };
            var firstIsBefore = spec.Relation switch
            {
                SceneRelation.LeftOf or SceneRelation.Above => true,
                SceneRelation.RightOf or SceneRelation.Below => false,
                _ => random.Chance(0.5f),
            };
            var (firstWidth, secondWidth) = (Widest(objects.AsSpan(0, split)), Widest(objects.AsSpan(split)));
            var low = whole.Left + (firstIsBefore ? firstWidth : secondWidth) + Scene.Gap / 2;
            var high = whole.Right - (firstIsBefore ? secondWidth : firstWidth) - Scene.Gap / 2;
            if (low > high)
                return false;
            var line = random.Between(low, high);
            var (near, far) = horizontal
                ? (whole with { Right = line - Scene.Gap / 2 }, whole with { Left = line + Scene.Gap / 2 })
                : (whole with { Bottom = line - Scene.Gap / 2 }, whole with { Top = line + Scene.Gap / 2 });
            (first, second) = firstIsBefore ? (near, far) : (far, near);
        }
        for (var i = 0; i < objects.Length; i++)
            if (!TryPut(ref random, objects, i, i < split ? first : second))
                return false;
        return spec.Kind != SceneKind.TwoObjects || IsPlain(spec.Relation!.Value, objects.AsSpan(0, split), objects.AsSpan(split));
    }

    private static bool TryPut(ref SceneRandom random, SceneObject[] objects, int index, Box box)
    {
        var half = objects[index].Extent / 2;
        if (box.Right - box.Left < 2 * half || box.Bottom - box.Top < 2 * half)
            return false;
        for (var attempt = 0; attempt < AttemptsPerObject; attempt++)
        {
            var x = random.Between(box.Left + half, box.Right - half);
            var y = random.Between(box.Top + half, box.Bottom - half);
            objects[index] = objects[index] with { X = x, Y = y };
            var free = true;
            for (var j = 0; j < index && free; j++)
            {
                var apart = half + objects[j].Extent / 2 + Scene.Gap;
                free = MathF.Abs(x - objects[j].X) >= apart || MathF.Abs(y - objects[j].Y) >= apart;
            }
            if (free)
                return true;
        }
        return false;
    }

    private static bool IsPlain(SceneRelation relation, ReadOnlySpan<SceneObject> first, ReadOnlySpan<SceneObject> second)
    {
        var ((ax, ay), (bx, by)) = (Centre(first), Centre(second));
        var (dx, dy) = (MathF.Abs(ax - bx), MathF.Abs(ay - by));
        return relation is SceneRelation.LeftOf or SceneRelation.RightOf ? dx > Dominance * dy : dy > Dominance * dx;
    }

    private static (float X, float Y) Centre(ReadOnlySpan<SceneObject> objects)
    {
        var (x, y) = (0f, 0f);
        foreach (var item in objects)
            (x, y) = (x + item.X / objects.Length, y + item.Y / objects.Length);
        return (x, y);
    }

    private static float Widest(ReadOnlySpan<SceneObject> objects)
    {
        var widest = 0f;
        foreach (var item in objects)
            widest = MathF.Max(widest, item.Extent);
        return widest;
    }
}
