namespace OrtRlhf.Scenes;

/// <summary>
/// Scores a picture against a caption by rules, a GenEval (Ghosh et al. 2023) in small. With n objects asked for, N found, and
/// each asked one matched to a found one (best credit first, each found one used once):
/// <code>
/// credit   = (1 + 2 colour + 2 shape) / 5 * (1 + size) / 2
/// Partial  = sum(credit) / n * min(1, n / N) * (0.6 + 0.4 relation)
/// </code>
/// colour is 0 or 1; shape, size and relation go smoothly from 0 to 1 and are 1 where nothing is asked. The background is not
/// judged, even when named: whether a reward may change it is for the reward's author to say.
/// </summary>
public static class SceneVerifier
{
    /// <summary>Width in intersection over union of the step from one shape to another.</summary>
    private const float ShapeSoftness = 0.04f;

    /// <summary>Width in pixels of the step from small to large.</summary>
    private const float SizeSoftness = 1.5f;

    /// <summary>Pixels by which every centre of one group must be beyond every centre of the other.</summary>
    private const float LeastOffset = 4;

    /// <summary>Pixels of offset short of what is asked at which the relation earns nothing.</summary>
    private const float OffsetSoftness = 20;

    private readonly record struct Match(SceneGroup Asked, SceneFinding? Found, float Credit);

    /// <summary>Scores a picture.</summary>
    /// <param name="rgb"><see cref="Scene.ByteCount"/> bytes: rows, pixels, red green blue.</param>
    /// <param name="spec">What the caption asks; see <see cref="SceneCaption.Parse"/>.</param>
    /// <exception cref="ArgumentException">The span is too short.</exception>
    public static SceneScore Score(ReadOnlySpan<byte> rgb, SceneSpec spec) => Score(SceneReader.Read(rgb), spec);

    /// <summary>Scores the objects found in a picture.</summary>
    public static SceneScore Score(IReadOnlyList<SceneFinding> findings, SceneSpec spec)
    {
        var matches = Assign(findings, spec);
        var asked = spec.ObjectCount;
        var countRight = findings.Count == asked;
        var colourRight = Array.TrueForAll(matches, m => m.Found?.Colour == m.Asked.Colour);
        var shapeRight = Array.TrueForAll(matches, m => m.Found is { } found && found.Shape == m.Asked.Shape);
        var sizeRight = Array.TrueForAll(matches, m => m.Found is { } found && (m.Asked.Size is null || found.Size == m.Asked.Size));
        var offset = Offset(matches, spec);
        var relationRight = offset >= 0;

        var relation = Math.Clamp(1 + offset / OffsetSoftness, 0, 1);
        var credit = matches.Sum(m => m.Credit) / asked;
        var partial = credit * Math.Min(1f, (float)asked / Math.Max(1, findings.Count)) * (0.6f + 0.4f * relation);
        var correct = countRight && colourRight && shapeRight && sizeRight && relationRight;
        return new SceneScore(correct, partial, countRight, colourRight, shapeRight, sizeRight, relationRight);
    }

    private static Match[] Assign(IReadOnlyList<SceneFinding> findings, SceneSpec spec)
    {
        var matches = new Match[spec.ObjectCount];
        for (var i = 0; i < matches.Length; i++)
            matches[i] = new Match(i < spec.First.Count ? spec.First : spec.Second!, null, 0);
        Span<bool> used = stackalloc bool[Math.Min(findings.Count, Scene.Side * Scene.Side)];
        for (var round = Math.Min(matches.Length, findings.Count); round > 0; round--)
        {
            var (slot, pick, best) = (-1, -1, -1f);
            for (var i = 0; i < matches.Length; i++)
                for (var j = 0; matches[i].Found is null && j < findings.Count; j++)
                    if (!used[j] && Credit(matches[i].Asked, findings[j]) is var credit && credit > best)
                        (slot, pick, best) = (i, j, credit);
            matches[slot] = matches[slot] with { Found = findings[pick], Credit = best };
            used[pick] = true;
        }
        return matches;
    }

    private static float Credit(SceneGroup asked, SceneFinding found)
    {
        var colour = found.Colour == asked.Colour ? 1f : 0f;
        var size = asked.Size switch
        {
            SceneSize.Small => Sigmoid((SceneFinding.SizeBoundary - found.Extent) / SizeSoftness),
            SceneSize.Large => Sigmoid((found.Extent - SceneFinding.SizeBoundary) / SizeSoftness),
            _ => 1,
        };
        return (1 + 2 * colour + 2 * ShapeCredit(found.Fits, (int)asked.Shape)) / 5 * (1 + size) / 2;
    }

    /// <summary>Softmax of the fits, and less where even the asked shape's own fit is poor.</summary>
    private static float ShapeCredit(IReadOnlyList<float> fits, int shape)
    {
        var sum = 0f;
        for (var k = 0; k < fits.Count; k++)
            sum += MathF.Exp((fits[k] - fits[shape]) / ShapeSoftness);
        return MathF.Min(1, fits[shape] / SceneFinding.LeastFit) / sum;
    }

    /// <summary>
    /// Pixels by which the relation is met (0 or more) or missed (below 0): the lesser of the least offset between a centre of the
    /// one group and one of the other, and the excess of the mean offset along the axis over that across it. Objects not found are
    /// left out, so that the relation is learned before the count is.
    /// </summary>
    private static float Offset(Match[] matches, SceneSpec spec)
    {
        if (spec.Relation is null or SceneRelation.And)
            return 0;
        var (least, alongSum, acrossSum, pairs) = (float.MaxValue, 0f, 0f, 0);
        foreach (var a in matches.AsSpan(0, spec.First.Count))
            foreach (var b in matches.AsSpan(spec.First.Count))
            {
                if (a.Found is null || b.Found is null)
                    continue;
                var (dx, dy) = (b.Found.X - a.Found.X, b.Found.Y - a.Found.Y);
                var (along, across) = spec.Relation switch
                {
                    SceneRelation.LeftOf => (dx, dy),
                    SceneRelation.RightOf => (-dx, dy),
                    SceneRelation.Above => (dy, dx),
                    _ => (-dy, dx),
                };
                least = MathF.Min(least, along);
                (alongSum, acrossSum, pairs) = (alongSum + along, acrossSum + across, pairs + 1);
            }
        return pairs == 0 ? -OffsetSoftness : MathF.Min(least - LeastOffset, (alongSum - MathF.Abs(acrossSum)) / pairs);
    }

    private static float Sigmoid(float x) => 1 / (1 + MathF.Exp(-x));
}
