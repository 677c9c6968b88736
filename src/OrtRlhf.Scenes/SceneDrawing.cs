namespace OrtRlhf.Scenes;

/// <summary>
/// Draws scenes. Edges are antialiased with exact distances (coverage = 1/2 - distance, cut to [0, 1]) rather than by
/// supersampling: as smooth as 4x4 samples a pixel and a tenth of the work.
/// </summary>
public static class SceneDrawing
{
    /// <summary>Draws a scene into <paramref name="rgb"/> (<see cref="Scene.ByteCount"/> bytes: rows, pixels, red green blue).</summary>
    /// <exception cref="ArgumentException">The span is too short.</exception>
    public static void Draw(Scene scene, Span<byte> rgb)
    {
        if (rgb.Length < Scene.ByteCount)
            throw new ArgumentException($"a picture takes {Scene.ByteCount} bytes, got {rgb.Length}", nameof(rgb));
        Span<float> share = stackalloc float[Scene.Side * Scene.Side];
        SceneTexturing.Fill(scene.Background, share);
        Paint(scene.Background, share, rgb);
        foreach (var item in scene.Objects)
            Paint(item, rgb);
    }

    /// <summary>Draws a scene into a new array of <see cref="Scene.ByteCount"/> bytes.</summary>
    public static byte[] Draw(Scene scene)
    {
        var rgb = new byte[Scene.ByteCount];
        Draw(scene, rgb);
        return rgb;
    }

    private static void Paint(SceneBackground background, ReadOnlySpan<float> share, Span<byte> rgb)
    {
        var (from, to) = background.Inverted
            ? (background.Dark, background.Light)
            : (background.Light, background.Dark);
        for (var i = 0; i < share.Length; i++)
        {
            var grey = from + (to - from) * share[i];
            rgb[3 * i] = Level(grey + background.Tint);
            rgb[3 * i + 1] = Level(grey);
            rgb[3 * i + 2] = Level(grey - background.Tint);
        }
    }

    private static void Paint(SceneObject item, Span<byte> rgb)
    {
        var (r, g, b) = ScenePalette.Rgb(item.Colour);
        var reach = item.Extent / 2 + 1;
        var (left, right) = (Math.Max(0, (int)(item.X - reach)), Math.Min(Scene.Side - 1, (int)(item.X + reach)));
        var (top, bottom) = (Math.Max(0, (int)(item.Y - reach)), Math.Min(Scene.Side - 1, (int)(item.Y + reach)));
        for (var y = top; y <= bottom; y++)
            for (var x = left; x <= right; x++)
            {
                var distance = SceneSilhouette.Distance(item.Shape, x + 0.5f - item.X, y + 0.5f - item.Y, item.Extent);
                var coverage = SceneSilhouette.Coverage(distance);
                if (coverage <= 0)
                    continue;
                var pixel = rgb.Slice(3 * (y * Scene.Side + x), 3);
                pixel[0] = Level(pixel[0] + (r - pixel[0]) * coverage);
                pixel[1] = Level(pixel[1] + (g - pixel[1]) * coverage);
                pixel[2] = Level(pixel[2] + (b - pixel[2]) * coverage);
            }
    }

    private static byte Level(float value) => (byte)Math.Clamp(value + 0.5f, 0, 255);
}
