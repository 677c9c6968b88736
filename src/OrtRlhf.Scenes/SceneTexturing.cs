namespace OrtRlhf.Scenes;

/// <summary>The background patterns: for each pixel the share, 0 to 1, of the second grey.</summary>
internal static class SceneTexturing
{
    private const float Diagonal = 0.70710678f;
    private static readonly (float X, float Y)[] Directions =
        [(1, 0), (Diagonal, Diagonal), (0, 1), (-Diagonal, Diagonal), (-1, 0), (-Diagonal, -Diagonal), (0, -1), (Diagonal, -Diagonal)];

    public static void Fill(SceneBackground background, Span<float> share)
    {
        switch (background.Texture)
        {
            case SceneTexture.Plain:
                share.Clear();
                break;
            default:
                for (var y = 0; y < Scene.Side; y++)
                    for (var x = 0; x < Scene.Side; x++)
                        share[y * Scene.Side + x] = At(background, x + 0.5f, y + 0.5f);
                break;
        }
    }

    private static float At(SceneBackground background, float x, float y)
    {
        var pitch = background.Pitch;
        var (dx, dy) = Directions[background.Direction & 7];
        switch (background.Texture)
        {
            case SceneTexture.Striped:
                return Bar(x * dx + y * dy + background.PhaseX, pitch);
            case SceneTexture.Checkered:
                // Exclusive or of two soft square waves.
                var (u, v) = (Bar(x + background.PhaseX, pitch), Bar(y + background.PhaseY, pitch));
                return u + v - 2 * u * v;
            case SceneTexture.Dotted:
                var (a, b) = (Centred(x + background.PhaseX, pitch), Centred(y + background.PhaseY, pitch));
                return SceneSilhouette.Coverage(MathF.Sqrt(a * a + b * b) - 0.27f * pitch);
            case SceneTexture.Gradient:
                var (cx, cy) = (x - Scene.Side / 2f, y - Scene.Side / 2f);
                var length = Scene.Side * (MathF.Abs(dx) + MathF.Abs(dy));
                return 0.5f + (cx * dx + cy * dy) / length;
            default:
                throw new ArgumentOutOfRangeException(nameof(background), background.Texture, null);
        }
    }

    /// <summary>A square wave of that period, 1 on half of it, with edges one pixel wide.</summary>
    private static float Bar(float position, float period) =>
        SceneSilhouette.Coverage(MathF.Abs(Centred(position, period)) - period / 4);

    /// <summary>Signed distance to the nearest multiple of the period.</summary>
    private static float Centred(float position, float period) =>
        position - period * MathF.Floor(position / period + 0.5f);
}
