using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>Scenes as tensors.</summary>
internal static class SceneFeed
{
    public const int Area = Scene.Side * Scene.Side;

    /// <summary>Draws a scene into [3,64,64], in [-1,1].</summary>
    public static void Draw(Scene scene, Span<float> chw)
    {
        var rgb = SceneDrawing.Draw(scene);
        for (var c = 0; c < 3; c++)
            for (var i = 0; i < Area; i++) chw[(c * Area) + i] = (rgb[(3 * i) + c] / 127.5f) - 1;
    }

    /// <summary>Weights of the pixels [64,64]: <paramref name="near"/> within three pixels of a coloured one, else 1.</summary>
    public static void Weigh(ReadOnlySpan<float> chw, float near, Span<float> weights)
    {
        const int Reach = 3;
        weights.Fill(1);
        for (var y = 0; y < Scene.Side; y++)
        {
            for (var x = 0; x < Scene.Side; x++)
            {
                var i = (y * Scene.Side) + x;
                var (r, g, b) = (chw[i], chw[Area + i], chw[(2 * Area) + i]);
                if (MathF.Max(r, MathF.Max(g, b)) - MathF.Min(r, MathF.Min(g, b)) < 0.4f) continue;
                for (var v = Math.Max(0, y - Reach); v <= Math.Min(Scene.Side - 1, y + Reach); v++)
                    weights.Slice((v * Scene.Side) + Math.Max(0, x - Reach),
                        Math.Min(Scene.Side - 1, x + Reach) - Math.Max(0, x - Reach) + 1).Fill(near);
            }
        }
    }
}
