using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Scenes.Tests;

/// <summary>What an autoencoder or a weak model does to a picture, imitated.</summary>
internal static class Disturbance
{
    private const int Side = Scene.Side;

    public static byte[] Apply(string name, byte[] rgb, int seed) => name switch
    {
        "none" => rgb,
        "noise" => Noise(rgb, 20, seed),
        "blur" => Noise(Box(Box(rgb)), 8, seed),
        "strong blur" => Noise(Box(Box(Box(rgb))), 8, seed),
        "half resolution" => Noise(Box(Half(rgb)), 8, seed),
        "pale" => Noise(Box(Pale(rgb)), 8, seed),
        "jpeg" => ImageCodec.Decode(ImageCodec.EncodeJpeg(new RgbImage(Side, Side, rgb), 85)).Pixels.ToArray(),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, null),
    };

    private static byte[] Each(Func<int, int, int, double> value)
    {
        var result = new byte[Scene.ByteCount];
        for (var i = 0; i < result.Length; i++)
            result[i] = (byte)Math.Clamp(Math.Round(value(i / 3 % Side, i / 3 / Side, i % 3)), 0, 255);
        return result;
    }

    private static byte At(byte[] rgb, int x, int y, int c) =>
        rgb[3 * (Math.Clamp(y, 0, Side - 1) * Side + Math.Clamp(x, 0, Side - 1)) + c];

    private static byte[] Box(byte[] rgb) => Each((x, y, c) =>
    {
        var sum = 0;
        for (var dy = -1; dy <= 1; dy++)
            for (var dx = -1; dx <= 1; dx++)
                sum += At(rgb, x + dx, y + dy, c);
        return sum / 9.0;
    });

    private static byte[] Half(byte[] rgb) => Each((x, y, c) =>
    {
        var (left, top) = (x & ~1, y & ~1);
        return (At(rgb, left, top, c) + At(rgb, left + 1, top, c) + At(rgb, left, top + 1, c) + At(rgb, left + 1, top + 1, c)) / 4.0;
    });

    private static byte[] Pale(byte[] rgb) => Each((x, y, c) =>
    {
        var grey = (At(rgb, x, y, 0) + At(rgb, x, y, 1) + At(rgb, x, y, 2)) / 3.0;
        return grey + 0.75 * (At(rgb, x, y, c) - grey);
    });

    private static byte[] Noise(byte[] rgb, double sigma, int seed)
    {
        var random = new Random(seed);
        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
        return Each((x, y, c) => At(rgb, x, y, c) + sigma * Normal());
    }
}
