using System.Numerics.Tensors;

namespace OrtRlhf.Diffusion.Images;

/// <summary>An 8-bit sRGB image, uint8 [H,W,3], rows from the top, no padding. Treated as immutable once made.</summary>
public sealed class RgbImage
{
    private readonly byte[] pixels;

    /// <summary>Wraps (does not copy) pixels in [H,W,3] order.</summary>
    /// <param name="width">Pixels in a row, at least 1.</param>
    /// <param name="height">Rows, at least 1.</param>
    /// <param name="pixels">width * height * 3 bytes.</param>
    /// <exception cref="ArgumentException">A side below 1, or a length that is not width * height * 3.</exception>
    public RgbImage(int width, int height, byte[] pixels)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        if (pixels.LongLength != 3L * width * height)
        {
            throw new ArgumentException(
                $"An RGB image of {width}x{height} has {3L * width * height} bytes; got {pixels.LongLength}.", nameof(pixels));
        }
        (Width, Height, this.pixels) = (width, height, pixels);
    }

    /// <summary>A black image.</summary>
    /// <inheritdoc cref="RgbImage(int, int, byte[])" path="/param"/>
    public RgbImage(int width, int height) : this(width, height, new byte[3 * Math.Max(width, 0) * Math.Max(height, 0)]) { }

    /// <summary>Pixels in a row.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>All pixels, [H,W,3].</summary>
    public ReadOnlySpan<byte> Pixels => pixels;

    /// <summary>The same pixels, for whoever draws into an image before sharing it.</summary>
    public Span<byte> MutablePixels => pixels;

    /// <summary>The three bytes at column <paramref name="x"/>, row <paramref name="y"/>.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The pixel lies outside the image.</exception>
    public (byte R, byte G, byte B) this[int x, int y]
    {
        get
        {
            var i = Offset(x, y);
            return (pixels[i], pixels[i + 1], pixels[i + 2]);
        }
        set
        {
            var i = Offset(x, y);
            (pixels[i], pixels[i + 1], pixels[i + 2]) = value;
        }
    }

    /// <summary>
    /// The image of a decoder's output, rounded as diffusers does: <c>round(clamp(x/2 + 0.5, 0, 1) * 255)</c>, in float,
    /// halves to even. NaN becomes 0.
    /// </summary>
    /// <param name="chw">Values nominally in [-1,1], [3,H,W], or [1,H,W] for grey.</param>
    /// <param name="width">W, pixels.</param>
    /// <param name="height">H, pixels.</param>
    /// <exception cref="ArgumentException">The length is neither 3*H*W nor H*W.</exception>
    public static RgbImage FromFloats(ReadOnlySpan<float> chw, int width, int height)
    {
        var area = checked(width * height);
        if (chw.Length != 3 * area && chw.Length != area)
        {
            throw new ArgumentException($"Expected [3,{height},{width}] or [1,{height},{width}] values; got {chw.Length}.", nameof(chw));
        }
        var image = new RgbImage(width, height);
        var bytes = new byte[area];
        for (var channel = 0; channel < 3; channel++)
        {
            if (channel == 0 || chw.Length > area) ToBytes(chw.Slice(channel * area, area), bytes);
            for (int i = 0, o = channel; i < area; i++, o += 3) image.pixels[o] = bytes[i];
        }
        return image;
    }

    /// <summary>The reverse of <see cref="FromFloats"/>: <c>x/127.5 - 1</c> as [3,H,W], what an encoder takes.</summary>
    /// <param name="chw">Receives 3*H*W values in [-1,1].</param>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public void ToFloats(Span<float> chw)
    {
        var area = Width * Height;
        if (chw.Length < 3 * area) throw new ArgumentException($"Expected room for {3 * area} values; got {chw.Length}.", nameof(chw));
        for (var channel = 0; channel < 3; channel++)
        {
            var plane = chw.Slice(channel * area, area);
            for (int i = 0, o = channel; i < area; i++, o += 3) plane[i] = pixels[o] / 127.5f - 1f;
        }
    }

    /// <summary>Whether both have the same size and the same pixels.</summary>
    /// <param name="other">Another image.</param>
    public bool SameAs(RgbImage other) => Width == other.Width && Height == other.Height && Pixels.SequenceEqual(other.Pixels);

    private static void ToBytes(ReadOnlySpan<float> plane, Span<byte> bytes)
    {
        Span<float> block = stackalloc float[1024];
        for (var start = 0; start < plane.Length; start += block.Length)
        {
            var source = plane.Slice(start, Math.Min(block.Length, plane.Length - start));
            var x = block[..source.Length];
            TensorPrimitives.Divide(source, 2f, x);
            TensorPrimitives.Add(x, 0.5f, x);
            TensorPrimitives.Max(x, 0f, x);
            TensorPrimitives.Min(x, 1f, x);
            TensorPrimitives.Multiply(x, 255f, x);
            TensorPrimitives.Round(x, x);
            for (var i = 0; i < x.Length; i++) bytes[start + i] = float.IsNaN(x[i]) ? (byte)0 : (byte)x[i];
        }
    }

    private int Offset(int x, int y)
    {
        if ((uint)x >= (uint)Width || (uint)y >= (uint)Height)
        {
            throw new ArgumentOutOfRangeException(nameof(x), $"Pixel ({x},{y}) lies outside an image of {Width}x{Height}.");
        }
        return 3 * (y * Width + x);
    }
}
