using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// Images as the input of an image encoder, float [3,H,W], as transformers' image processors make them: see
/// <see cref="ImageProcessorConfig"/>.
/// </summary>
/// <param name="Config">What to do.</param>
public sealed record ImagePreprocessor(ImageProcessorConfig Config)
{
    /// <summary>Height and width of the result for an image of a size.</summary>
    /// <param name="width">Width of the image.</param>
    /// <param name="height">Height of the image.</param>
    public (int Height, int Width) SizeFor(int width, int height)
    {
        if (Config.DoCenterCrop) return (Config.CropHeight, Config.CropWidth);
        var (w, h) = Resized(width, height);
        return (h, w);
    }

    /// <summary>Processes an image into [3,H,W].</summary>
    /// <param name="image">The image.</param>
    /// <param name="chw">Where the result goes: 3*H*W numbers, with H and W of <see cref="SizeFor"/>.</param>
    /// <exception cref="ArgumentException">The result has another size.</exception>
    public void Process(RgbImage image, Span<float> chw)
    {
        var (height, width) = SizeFor(image.Width, image.Height);
        if (chw.Length != 3 * height
            * width) throw new ArgumentException($"Expected room for 3x{height}x{width} numbers, got {chw.Length}.", nameof(chw));
        var (w, h) = Resized(image.Width, image.Height);
        var resized = PillowResize.Resize(image, w, h, (ResizeFilter)Config.Resample);
        // The crop's corner in the resized image, rounded down; outside it lies black.
        var (top, left) = ((h - height) >> 1, (w - width) >> 1);
        var source = resized.Pixels;
        for (var c = 0; c < 3; c++)
        {
            var scale = Config.DoRescale ? Config.RescaleFactor : 1;
            var (mean, std) = Config.DoNormalize ? ((float)Config.Mean[c], (float)Config.Std[c]) : (0f, 1f);
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    var (u, v) = (x + left, y + top);
                    var value = (uint)u < (uint)w && (uint)v < (uint)h ? source[(3 * ((v * w) + u)) + c] : (byte)0;
                    chw[(((c * height) + y) * width) + x] = ((float)(value * scale) - mean) / std;
                }
            }
        }
    }

    private (int Width, int Height) Resized(int width, int height)
    {
        if (!Config.DoResize) return (width, height);
        if (Config.ShortestEdge is not { } edge) return (Config.Width, Config.Height);
        return width <= height ? (edge, (int)((double)edge * height / width)) : ((int)((double)edge * width / height), edge);
    }
}
