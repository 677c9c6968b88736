namespace OrtRlhf.Diffusion.Images;

/// <summary>Filters of resizing, by Pillow's numbers.</summary>
public enum ResizeFilter
{
    /// <summary>The pixel at the place.</summary>
    Nearest = 0,

    /// <summary>sinc(x) sinc(x/3) for |x| &lt; 3.</summary>
    Lanczos = 1,

    /// <summary>1 - |x| for |x| &lt; 1.</summary>
    Bilinear = 2,

    /// <summary>Keys' cubic with a = -1/2, for |x| &lt; 2.</summary>
    Bicubic = 3,

    /// <summary>1 for -1/2 &lt; x &lt;= 1/2.</summary>
    Box = 4,

    /// <summary>sinc(x) (0.54 + 0.46 cos(pi x)) for |x| &lt; 1.</summary>
    Hamming = 5,
}

/// <summary>
/// Resizes as Pillow's <c>Image.resize</c> does, to the same bytes, on which the scores of image encoders depend: separable, first along
/// the rows and then
/// along the columns, with bytes between. The filter is stretched by the factor of shrinking (antialiasing); its weights, normalised to the
/// sum 1, are
/// rounded to 22 bits behind the point, and sums are rounded half up and limited to [0,255]. Source: libImaging/Resample.c, described, not
/// copied.
/// libvips's own resize is not that: its cubic filter, from 512x512 to 224x224, gives another value for 21 % of the bytes.
/// </summary>
public static class PillowResize
{
    private const int Precision = 22;

    /// <summary>The image in another size; the same object when the size is the same.</summary>
    /// <param name="image">The image.</param>
    /// <param name="width">Pixels in a row, at least 1.</param>
    /// <param name="height">Rows, at least 1.</param>
    /// <param name="filter">The filter, default bicubic.</param>
    /// <exception cref="ArgumentOutOfRangeException">A side below 1.</exception>
    public static RgbImage Resize(RgbImage image, int width, int height, ResizeFilter filter = ResizeFilter.Bicubic)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        if (width == image.Width && height == image.Height) return image;
        if (filter == ResizeFilter.Nearest) return Nearest(image, width, height);
        var rows = width == image.Width ? image : AlongRows(image, Taps.Of(image.Width, width, filter));
        return height == image.Height ? rows : AlongColumns(rows, Taps.Of(image.Height, height, filter));
    }

    private static RgbImage AlongRows(RgbImage image, Taps[] taps)
    {
        var result = new RgbImage(taps.Length, image.Height);
        var source = image.Pixels;
        var target = result.MutablePixels;
        for (var y = 0; y < image.Height; y++)
        {
            var row = source.Slice(3 * y * image.Width, 3 * image.Width);
            for (var x = 0; x < taps.Length; x++)
                for (var c = 0; c < 3; c++) target[(3 * ((y * taps.Length) + x)) + c] = taps[x].Sum(row, c, 3);
        }
        return result;
    }

    private static RgbImage AlongColumns(RgbImage image, Taps[] taps)
    {
        var result = new RgbImage(image.Width, taps.Length);
        var source = image.Pixels;
        var target = result.MutablePixels;
        var stride = 3 * image.Width;
        for (var y = 0; y < taps.Length; y++)
            for (var i = 0; i < stride; i++) target[(y * stride) + i] = taps[y].Sum(source, i, stride);
        return result;
    }

    private static RgbImage Nearest(RgbImage image, int width, int height)
    {
        var result = new RgbImage(width, height);
        var (scaleX, scaleY) = ((double)image.Width / width, (double)image.Height / height);
        for (var y = 0; y < height; y++)
            for (var x = 0; x < width; x++)
                result[x, y] = image[Math.Min(image.Width - 1, (int)((x + 0.5) * scaleX)),
                    Math.Min(image.Height - 1, (int)((y + 0.5) * scaleY))];
        return result;
    }

    private static (double Support, Func<double, double> Weight) Filter(ResizeFilter filter) => filter switch
    {
        ResizeFilter.Lanczos => (3, x => Math.Abs(x) < 3 ? Sinc(x) * Sinc(x / 3) : 0),
        ResizeFilter.Bilinear => (1, x => Math.Max(0, 1 - Math.Abs(x))),
        ResizeFilter.Bicubic => (2, Cubic),
        ResizeFilter.Box => (0.5, x => x is > -0.5 and <= 0.5 ? 1 : 0),
        ResizeFilter.Hamming => (1, x => Math.Abs(x) < 1 ? Sinc(x) * (0.54 + (0.46 * Math.Cos(Math.PI * x))) : 0),
        _ => throw new ArgumentOutOfRangeException(nameof(filter), filter, null),
    };

    private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(Math.PI * x) / (Math.PI * x);

    private static double Cubic(double x)
    {
        const double a = -0.5;
        x = Math.Abs(x);
        if (x < 1) return ((((a + 2) * x) - (a + 3)) * x * x) + 1;
        return x < 2 ? ((((x - 5) * x) + 8) * x - 4) * a : 0;
    }

    /// <summary>What a target pixel takes: pixels from a first one on, each with a weight.</summary>
    private readonly record struct Taps(int First, int[] Weights)
    {
        public static Taps[] Of(int from, int to, ResizeFilter filter)
        {
            var (support, weight) = Filter(filter);
            var scale = (double)from / to;
            var stretch = Math.Max(1, scale);
            support *= stretch;
            var taps = new Taps[to];
            for (var i = 0; i < to; i++)
            {
                var centre = (i + 0.5) * scale;
                var first = Math.Max(0, (int)(centre - support + 0.5));
                var end = Math.Min(from, (int)(centre + support + 0.5));
                var weights = new double[Math.Max(0, end - first)];
                for (var j = 0; j < weights.Length; j++) weights[j] = weight((j + first - centre + 0.5) * (1 / stretch));
                var sum = weights.Sum();
                taps[i] = new Taps(first, Array.ConvertAll(weights, w => Fixed(sum == 0 ? w : w / sum)));
            }
            return taps;
        }

        // Half away from zero.
        private static int Fixed(double weight) => (int)((weight < 0 ? -0.5 : 0.5) + (weight * (1 << Precision)));

        public byte Sum(ReadOnlySpan<byte> source, int offset, int stride)
        {
            var sum = 1 << (Precision - 1);
            for (var j = 0; j < Weights.Length; j++) sum += source[offset + ((First + j) * stride)] * Weights[j];
            return (byte)Math.Clamp(sum >> Precision, 0, 255);
        }
    }
}
