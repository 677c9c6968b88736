using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

public sealed class RgbImageTests
{
    [Theory]
    [InlineData(-1f, 0)]
    [InlineData(1f, 255)]
    [InlineData(0f, 128)] // 127.5 rounds to even
    [InlineData(-7f, 0)]
    [InlineData(7f, 255)]
    [InlineData(float.NaN, 0)]
    [InlineData(float.PositiveInfinity, 255)]
    [InlineData(-0.984f, 2)] // 2.04
    public void FromFloats_SpecialValues(float value, byte expected)
    {
        var image = RgbImage.FromFloats([value, value, value], 1, 1);
        Assert.Equal((expected, expected, expected), image[0, 0]);
    }

    [Fact]
    public void FromFloats_PlanesBecomeInterleaved()
    {
        float[] chw = [-1, 1, -1, -1, -1, 1]; // [3,1,2]: red 0,255; green 0,0; blue 0,255
        Assert.Equal([0, 0, 0, 255, 0, 255], RgbImage.FromFloats(chw, 2, 1).Pixels.ToArray());
    }

    [Fact]
    public void FromFloats_OnePlane_IsGrey() => Assert.Equal((255, 255, 255), RgbImage.FromFloats([1f, -1f], 2, 1)[0, 0]);

    [Fact]
    public void FromFloats_OfToFloats_IsTheSameImage()
    {
        var image = NoiseImage.Of(53, 41, 3);
        var chw = new float[3 * 53 * 41];
        image.ToFloats(chw);
        Assert.InRange(chw.Min(), -1f, -0.9f);
        Assert.True(image.SameAs(RgbImage.FromFloats(chw, 53, 41)));
    }

    [Fact]
    public void FromFloats_WrongLength_Throws() => Assert.Throws<ArgumentException>(() => RgbImage.FromFloats(new float[5], 2, 2));

    [Fact]
    public void Constructor_WrongLength_Throws() => Assert.Throws<ArgumentException>(() => new RgbImage(2, 2, new byte[5]));

    [Fact]
    public void Indexer_OutsideTheImage_Throws() => Assert.Throws<ArgumentOutOfRangeException>(() => new RgbImage(2, 2)[2, 0]);
}
