using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;

namespace OrtRlhf.Rewards.Tests;

public sealed class ImageDiversityTests
{
    [Fact]
    public void Of_RandomImages_MatchesThePairwiseDefinition()
    {
        var images = Enumerable.Range(0, 5).Select(seed => NoiseImage.Of(7, 5, seed)).ToArray();
        var squares = from a in images
                      from b in images
                      where a != b
                      select Enumerable.Range(0, 105).Average(p =>
            Math.Pow(a.Pixels[p] - b.Pixels[p], 2));
        Assert.Equal(Math.Sqrt(squares.Average()) / 255, ImageDiversity.Of(images.Select(image => ("x", image)))!.Value, 10);
    }

    [Fact]
    public void Of_BlackAndWhite_IsOne()
    {
        var white = RgbImage.FromFloats([1f], 1, 1);
        Assert.Equal(1.0, ImageDiversity.Of([("x", white), ("x", new RgbImage(1, 1))])!.Value, 10);
    }

    [Fact]
    public void Of_SameImages_IsZero_AndPromptsAreAveraged()
    {
        var (white, black) = (RgbImage.FromFloats([1f], 1, 1), new RgbImage(1, 1));
        Assert.Equal(0.5, ImageDiversity.Of([("a", white), ("b", white), ("a", white), ("b", black), ("c", white)])!.Value, 10);
    }

    [Fact]
    public void Of_NoPromptWithTwoImages_IsNull() => Assert.Null(ImageDiversity.Of([("a", new RgbImage(1, 1)), ("b", new RgbImage(1, 1))]));

    [Fact]
    public void Of_DifferentSizes_Throws() =>
        Assert.Throws<ArgumentException>(() => ImageDiversity.Of([("a", new RgbImage(1, 2)), ("a", new RgbImage(2, 1))]));
}
