using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

public sealed class ImagePreprocessorTests
{
    [Fact]
    public void Process_ClipOfShortestEdge8_MatchesReference()
    {
        // Pillow 11.1.0 and NumPy: resize to 11x8, crop the columns 1 to 8, (x/255 - mean)/std in double.
        var config = ImageProcessorConfig.Parse("""{"size":{"shortest_edge":8},"crop_size":8}""");
        var result = Process(config, NoiseImage.Pattern(20, 14));
        Assert.Equal(3 * 64, result.Length);
        Assert.Equal([0.178525, 0.318975, 0.254628], [result[0], result[64 + 28], result[^1]], (x, y) => Math.Abs(x - y) < 2e-6);
        Assert.Equal(38.7754, result.Sum(v => (double)v), 1e-3);
        Assert.Equal(50.904, result.Sum(v => (double)v * v), 1e-3);
    }

    [Fact]
    public void Process_ByHand()
    {
        var image = new RgbImage(2, 2, [0, 51, 255, 0, 51, 255, 0, 51, 255, 0, 51, 255]);
        Assert.Equal([0, 0, 0, 0, 0.2f, 0.2f, 0.2f, 0.2f, 1, 1, 1, 1], Process(ImageProcessorConfig.Plain(2, 2), image));
        var halves = ImageProcessorConfig.Parse(
            """{"do_resize":false,"do_center_crop":false,"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.25]}""");
        Assert.Equal([-1, -1, -1, -1, -0.6f, -0.6f, -0.6f, -0.6f, 2, 2, 2, 2], Process(halves, image), (x, y) => Math.Abs(x - y) < 1e-6);
        Assert.Equal(255, Process(halves with { DoRescale = false, DoNormalize = false }, image)[^1]);
    }

    [Fact]
    public void Process_CropLargerThanImage_AddsBlack()
    {
        var image = new RgbImage(3, 1, [10, 0, 0, 20, 0, 0, 30, 0, 0]);
        var config = ImageProcessorConfig.Parse(
            """{"do_resize":false,"do_rescale":false,"do_normalize":false,"crop_size":{"height":2,"width":2}}""");
        // Of three columns the first two (rounded down), of one row with one above it.
        Assert.Equal([0, 0, 10, 20], Process(config, image)[..4]);
    }

    [Theory]
    [InlineData("""{}""", 224, 300, 224, 224)]
    [InlineData("""{"size":32,"crop_size":30,"feature_extractor_type":"CLIPFeatureExtractor"}""", 7, 9, 30, 30)]
    [InlineData("""{"size":32,"do_center_crop":false}""", 100, 50, 64, 32)]
    [InlineData("""{"size":{"height":5,"width":9},"image_processor_type":"SiglipImageProcessor"}""", 100, 50, 9, 5)]
    [InlineData("""{"size":12,"image_processor_type":"ViTImageProcessorFast"}""", 100, 50, 12, 12)]
    public void SizeFor_IsTheProcessors(string json, int width, int height, int toWidth, int toHeight) =>
        Assert.Equal((toHeight, toWidth), new ImagePreprocessor(ImageProcessorConfig.Parse(json)).SizeFor(width, height));

    [Theory]
    [InlineData("""{"image_processor_type":"BitImageProcessor2"}""", "image_processor_type = \"BitImageProcessor2\"")]
    [InlineData("""{"resample":6}""", "resample = 6")]
    [InlineData("""{"image_std":[0.5,0,0.5]}""", "image_std")]
    [InlineData("""{"image_mean":[0.5]}""", "image_mean: expected a list of 3 numbers")]
    [InlineData("""{"size":{"longest_edge":5}}""", "longest_edge")]
    [InlineData("""{"size":{"height":5}}""", "shortest_edge, or height and width")]
    [InlineData("""{"crop_size":100000}""", "crop_size")]
    [InlineData("""{"size":""", "preprocessor_config.json' is not valid JSON")]
    public void Parse_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => ImageProcessorConfig.Parse(json)).Message);

    private static float[] Process(ImageProcessorConfig config, RgbImage image)
    {
        var preprocessor = new ImagePreprocessor(config);
        var (height, width) = preprocessor.SizeFor(image.Width, image.Height);
        var result = new float[3 * height * width];
        preprocessor.Process(image, result);
        return result;
    }
}
