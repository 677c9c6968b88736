namespace OrtRlhf.Scenes;

/// <summary>Silhouettes as signed distances: negative inside, in pixels. The drawing and the verifier's templates share them.</summary>
internal static class SceneSilhouette
{
    /// <summary>The square's side as a share of the extent: makes its weight to the eye that of the circle.</summary>
    public const float SquareSide = 0.92f;
    private const float TriangleHeight = 0.92f;
    private const float CrossArm = 0.36f;

    /// <summary>Part of a one-pixel-wide edge that is inside: 1/2 at the outline.</summary>
    public static float Coverage(float distance) => Math.Clamp(0.5f - distance, 0, 1);

    /// <summary>
    /// Signed distance (a lower bound of it outside corners) of (x, y), measured from the centre of a shape of that extent.
    /// </summary>
    public static float Distance(SceneShape shape, float x, float y, float extent)
    {
        var half = extent / 2;
        switch (shape)
        {
            case SceneShape.Circle:
                return MathF.Sqrt(x * x + y * y) - half;
            case SceneShape.Square:
                return MathF.Max(MathF.Abs(x), MathF.Abs(y)) - half * SquareSide;
            case SceneShape.Cross:
                var (far, near) = (MathF.Max(MathF.Abs(x), MathF.Abs(y)), MathF.Min(MathF.Abs(x), MathF.Abs(y)));
                return MathF.Max(far - half, near - half * CrossArm);
            case SceneShape.Triangle:
                var (halfHeight, slope) = (half * TriangleHeight, 2 * TriangleHeight);
                // The slanted sides run from the apex (0, -halfHeight) to (half, halfHeight).
                var side = (MathF.Abs(x) * slope - (y + halfHeight)) / MathF.Sqrt(1 + slope * slope);
                return MathF.Max(side, y - halfHeight);
            default:
                throw new ArgumentOutOfRangeException(nameof(shape), shape, null);
        }
    }
}
