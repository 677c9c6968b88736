namespace OrtRlhf.Tuning.Scenes;

/// <summary>The colours' RGB levels.</summary>
public static class ScenePalette
{
    private static readonly (byte R, byte G, byte B)[] Levels =
        [(224, 44, 44), (240, 216, 40), (36, 176, 60), (40, 204, 212), (52, 84, 228), (222, 56, 200)];

    /// <summary>Red, green and blue of a colour, 0 to 255.</summary>
    public static (byte R, byte G, byte B) Rgb(SceneColour colour) => Levels[(int)colour];

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
