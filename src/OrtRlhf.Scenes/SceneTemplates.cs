namespace OrtRlhf.Scenes;

/// <summary>
/// The fit of a silhouette to each shape. A template takes its size from the silhouette's area and its place from its centroid, not
/// from the bounding box, which a single stray pixel moves.
/// </summary>
internal static class SceneTemplates
{
    private const int Side = Scene.Side;
    private static readonly SceneShape[] Shapes = Enum.GetValues<SceneShape>();

    /// <summary>Area over squared extent, and the centroid's distance below the centre over the extent, both measured once.</summary>
    private static readonly (float Area, float Sink)[] Moments = [.. Shapes.Select(Measure)];

    /// <summary>
    /// Intersection over union, sum of minima over sum of maxima, of a coverage map (0 to 1, [Side, Side]) with each shape's template;
    /// only the box from (left, top) to (right, bottom), both included, may be other than 0.
    /// </summary>
    public static float[] Fits(ReadOnlySpan<float> coverage, int left, int top, int right, int bottom)
    {
        var (area, cx, cy) = (0f, 0f, 0f);
        for (var y = top; y <= bottom; y++)
            for (var x = left; x <= right; x++)
            {
                var c = coverage[y * Side + x];
                (area, cx, cy) = (area + c, cx + c * (x + 0.5f), cy + c * (y + 0.5f));
            }
        (cx, cy) = (cx / area, cy / area);

        var fits = new float[Shapes.Length];
        for (var k = 0; k < fits.Length; k++)
        {
            var extent = MathF.Sqrt(area / Moments[k].Area);
            var centre = cy - Moments[k].Sink * extent;
            var intersection = 0f;
            for (var y = top; y <= bottom; y++)
                for (var x = left; x <= right; x++)
                {
                    var c = coverage[y * Side + x];
                    if (c <= 0)
                        continue;
                    var template = SceneSilhouette.Coverage(
                        SceneSilhouette.Distance(Shapes[k], x + 0.5f - cx, y + 0.5f - centre, extent));
                    intersection += MathF.Min(c, template);
                }
            // The template's own area equals the silhouette's: union = 2 area - intersection.
            fits[k] = intersection / (2 * area - intersection);
        }
        return fits;
    }

    private static (float Area, float Sink) Measure(SceneShape shape)
    {
        const int cells = 256;
        var (count, sink) = (0, 0f);
        for (var v = 0; v < cells; v++)
            for (var u = 0; u < cells; u++)
            {
                var (x, y) = ((u + 0.5f) / cells - 0.5f, (v + 0.5f) / cells - 0.5f);
                if (SceneSilhouette.Distance(shape, x, y, 1) < 0)
                    (count, sink) = (count + 1, sink + y);
            }
        return ((float)count / (cells * cells), sink / count);
    }
}
