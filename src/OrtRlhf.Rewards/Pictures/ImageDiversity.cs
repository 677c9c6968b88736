using OrtRlhf.Diffusion.Images;

namespace OrtRlhf.Rewards;

/// <summary>
/// How different the images of one prompt are: the root mean square, over all pairs of images and all pixel values, of
/// their difference, in [0,1] (1 is black against white). Training on rewards lowers it when the model collapses onto a few images.
/// </summary>
public static class ImageDiversity
{
    /// <summary>
    /// <c>D = mean over prompts of sqrt(2 mean_p s_p^2)/255</c>, with <c>s_p^2</c> the unbiased variance of pixel value p
    /// over the prompt's images: the mean squared distance of pairs is twice the variance, so that no pair is visited.
    /// </summary>
    /// <param name="images">Prompts and images; images of one prompt have the same size. Prompts with one image count for nothing.</param>
    /// <returns>D, or null when no prompt has two images.</returns>
    /// <exception cref="ArgumentException">Two images of one prompt differ in size.</exception>
    public static double? Of(IEnumerable<(string Prompt, RgbImage Image)> images)
    {
        var spreads = images.GroupBy(item => item.Prompt, item => item.Image)
            .Select(group => group.ToArray()).Where(group => group.Length > 1).Select(PairDistance).ToArray();
        return spreads.Length == 0 ? null : spreads.Average();
    }

    private static double PairDistance(RgbImage[] images)
    {
        var length = images[0].Pixels.Length;
        if (images.Any(image => image.Width != images[0].Width || image.Height != images[0].Height))
        {
            throw new ArgumentException("Images of one prompt must have the same size.", nameof(images));
        }
        // Whole numbers: sums are exact in any order.
        var (sums, squares) = (new long[length], 0L);
        foreach (var image in images)
        {
            var pixels = image.Pixels;
            for (var p = 0; p < length; p++)
            {
                sums[p] += pixels[p];
                squares += pixels[p] * pixels[p];
            }
        }
        double n = images.Length;
        var variance = (squares - sums.Sum(sum => (double)sum * sum) / n) / (n - 1) / length;
        return Math.Sqrt(2 * Math.Max(variance, 0)) / 255;
    }
}
