using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Tests;

/// <summary>Pictures of noise, and patterns.</summary>
internal static class NoiseImage
{
    /// <summary>Random bytes.</summary>
    public static RgbImage Of(int width, int height, int seed)
    {
        var pixels = new byte[3 * width * height];
        new Random(seed).NextBytes(pixels);
        return new RgbImage(width, height, pixels);
    }

    /// <summary>(37 x + 91 y + 53 c + 13 (x y mod 17)) mod 256.</summary>
    public static RgbImage Pattern(int width, int height)
    {
        var image = new RgbImage(width, height);
        for (var i = 0; i < image.Pixels.Length; i++)
        {
            var (x, y, c) = (i / 3 % width, i / 3 / width, i % 3);
            image.MutablePixels[i] = (byte)((37 * x) + (91 * y) + (53 * c) + (13 * (x * y % 17)));
        }
        return image;
    }
}
