using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

public sealed class ImageCodecTests
{
    public static TheoryData<string> GoldenImages =>
        new(Directory.GetFiles(GoldenFile.At("jpeg"), "*.npy").Select(path => Path.GetFileNameWithoutExtension(path)).Order());

    [Fact]
    public void GoldenImages_AreSix() => Assert.Equal(6, GoldenImages.Count);

    [Theory]
    [MemberData(nameof(GoldenImages))]
    public void JpegSize_AtQuality95_EqualsPillow(string name)
    {
        var image = NpyImage.Read(GoldenFile.At("jpeg", name + ".npy"));
        Assert.Equal(new FileInfo(GoldenFile.At("jpeg", name + ".q95.jpg")).Length, ImageCodec.JpegSize(image));
    }

    [Theory]
    [MemberData(nameof(GoldenImages))]
    public void EncodeJpeg_AtQuality95_DecodesAsPillowFile(string name)
    {
        var image = NpyImage.Read(GoldenFile.At("jpeg", name + ".npy"));
        var ours = ImageCodec.EncodeJpeg(image);
        var pillow = File.ReadAllBytes(GoldenFile.At("jpeg", name + ".q95.jpg"));
        Assert.Equal(ImageCodec.JpegSize(image), ours.Length);
        Assert.Equal(pillow[..20], ours[..20]);
        Assert.True(ImageCodec.Decode(pillow).SameAs(ImageCodec.Decode(ours)));
    }

    [Fact]
    public void EncodePng_Decoded_IsExact()
    {
        var image = NoiseImage.Of(37, 21, 1);
        Assert.True(image.SameAs(ImageCodec.Decode(ImageCodec.EncodePng(image))));
        Assert.Equal(ImageCodec.EncodePng(image), ImageCodec.EncodePng(image));
    }

    [Fact]
    public void EncodeWebp_Lossless_IsExact_Lossy_IsClose()
    {
        var image = NpyImage.Read(GoldenFile.At("jpeg", "smooth_64x64.npy"));
        Assert.True(image.SameAs(ImageCodec.Decode(ImageCodec.EncodeWebp(image, lossless: true))));
        Assert.InRange(MeanDistance(image, ImageCodec.Decode(ImageCodec.EncodeWebp(image))), 0, 4);
    }

    [Fact]
    public void Decode_Transparency_IsLaidOverWhite()
    {
        // A 1x1 RGBA PNG, fully transparent black.
        var file = Convert.FromBase64String(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg==");
        Assert.Equal((255, 255, 255), ImageCodec.Decode(file)[0, 0]);
    }

    [Theory]
    [InlineData("png")]
    [InlineData("jpg")]
    [InlineData("webp")]
    public void Decode_TruncatedFile_ThrowsForUserWithAMessage(string format)
    {
        var whole = ImageCodec.Encode(NoiseImage.Of(64, 64, 2), "x." + format);
        foreach (var length in new[] { whole.Length / 2, whole.Length / 10, 30 })
        {
            var error = Assert.Throws<UserError>(() => ImageCodec.Decode(whole.AsSpan(0, length), "photos/a." + format));
            Assert.StartsWith("photos/a." + format + ": ", error.Message);
            Assert.True(error.Message.Length > 40, error.Message);
            Assert.DoesNotContain('\n', error.Message);
        }
    }

    [Theory]
    [InlineData("", "got 0 bytes")]
    [InlineData("hello, this is text", "begin with 68656C6C")]
    [InlineData("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'></svg>", "expected a JPEG, PNG or WebP")]
    public void Decode_NotAnImage_ThrowsForUser(string text, string expected)
    {
        var error = Assert.Throws<UserError>(() => ImageCodec.Decode(System.Text.Encoding.ASCII.GetBytes(text), "a.png"));
        Assert.Contains(expected, error.Message);
    }

    [Fact]
    public void Read_MissingFile_ThrowsForUser() =>
        Assert.Contains("no-such.png", Assert.Throws<UserError>(() => ImageCodec.Read("no-such.png")).Message);

    [Fact]
    public void Encode_UnknownEnding_ThrowsForUser() =>
        Assert.Contains("'.bmp'", Assert.Throws<UserError>(() => ImageCodec.Encode(NoiseImage.Of(4, 4, 1), "a.bmp")).Message);

    private static double MeanDistance(RgbImage a, RgbImage b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Pixels.Length; i++) sum += Math.Abs(a.Pixels[i] - b.Pixels[i]);
        return sum / a.Pixels.Length;
    }
}
