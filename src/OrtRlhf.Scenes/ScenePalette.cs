namespace OrtRlhf.Scenes;

/// <summary>The colours' RGB levels.</summary>
public static class ScenePalette
{
    private static readonly (byte R, byte G, byte B)[] Levels =
        [(224, 44, 44), (240, 216, 40), (36, 176, 60), (40, 204, 212), (52, 84, 228), (222, 56, 200)];
    private static readonly float[] Hues = [.. Levels.Select(c => Hue(c.R, c.G, c.B))];
    private static readonly float[] Chromas = [.. Levels.Select(c =>
        Math.Max(c.R, Math.Max(c.G, c.B)) - Math.Min(c.R, Math.Min(c.G, c.B)))];

    /// <summary>Red, green and blue of a colour, 0 to 255.</summary>
    public static (byte R, byte G, byte B) Rgb(SceneColour colour) => Levels[(int)colour];

    /// <summary>Chroma of a colour, 0 to 255: the largest of its levels less the smallest.</summary>
    internal static float Chroma(SceneColour colour) => Chromas[(int)colour];

    /// <summary>The colour whose hue is nearest to that of (r, g, b), which must not be grey.</summary>
    internal static SceneColour Nearest(float r, float g, float b)
    {
        var hue = Hue(r, g, b);
        var (best, least) = (0, float.MaxValue);
        for (var i = 0; i < Hues.Length; i++)
        {
            var apart = MathF.Abs(hue - Hues[i]);
            apart = MathF.Min(apart, 360 - apart);
            if (apart < least)
                (best, least) = (i, apart);
        }
        return (SceneColour)best;
    }

    /// <summary>Hue in degrees, 0 to 360 (hexagonal, as in HSV).</summary>
    internal static float Hue(float r, float g, float b)
    {
        var max = MathF.Max(r, MathF.Max(g, b));
        var chroma = max - MathF.Min(r, MathF.Min(g, b));
        if (chroma <= 0)
            return 0;
        var sextant = max == r ? (g - b) / chroma : max == g ? (b - r) / chroma + 2 : (r - g) / chroma + 4;
        return sextant < 0 ? 60 * sextant + 360 : 60 * sextant;
    }
}
