using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// How pictures become the input of an image encoder: resize, centre crop, rescale, normalise, in this order, as transformers'
/// CLIPImageProcessor,
/// ViTImageProcessor and SiglipImageProcessor do. Read from a <c>preprocessor_config.json</c>; what is missing takes that class's default.
/// </summary>
public sealed record ImageProcessorConfig
{
    private const string FileName = "preprocessor_config.json";

    /// <summary>Whether to resize.</summary>
    public bool DoResize { get; init; } = true;

    /// <summary>
    /// Length in pixels that the shorter side is resized to, the other in proportion, rounded down; null for exactly <see cref="Height"/> x
    /// <see cref="Width"/>.
    /// </summary>
    public int? ShortestEdge { get; init; } = 224;

    /// <summary>Height to resize to when there is no <see cref="ShortestEdge"/>.</summary>
    public int Height { get; init; } = 224;

    /// <summary>Width to resize to when there is no <see cref="ShortestEdge"/>.</summary>
    public int Width { get; init; } = 224;

    /// <summary>Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.</summary>
    public int Resample { get; init; } = 3;

    /// <summary>Whether to cut out the centre; where the picture is smaller, black is added.</summary>
    public bool DoCenterCrop { get; init; } = true;

    /// <summary>Height of the crop.</summary>
    public int CropHeight { get; init; } = 224;

    /// <summary>Width of the crop.</summary>
    public int CropWidth { get; init; } = 224;

    /// <summary>Whether pixel values are multiplied by <see cref="RescaleFactor"/>.</summary>
    public bool DoRescale { get; init; } = true;

    /// <summary>Factor of pixel values in [0,255]; default 1/255.</summary>
    public double RescaleFactor { get; init; } = 1 / 255.0;

    /// <summary>Whether the mean is taken off, and the result divided by the deviation.</summary>
    public bool DoNormalize { get; init; } = true;

    /// <summary>Mean of red, green and blue; default CLIP's.</summary>
    public IReadOnlyList<double> Mean { get; init; } = [0.48145466, 0.4578275, 0.40821073];

    /// <summary>Deviation of red, green and blue, not 0; default CLIP's.</summary>
    public IReadOnlyList<double> Std { get; init; } = [0.26862954, 0.26130258, 0.27577711];

    /// <summary>Pictures of exactly this size, as numbers in [0,1].</summary>
    /// <param name="height">Height.</param>
    /// <param name="width">Width.</param>
    public static ImageProcessorConfig Plain(int height, int width) =>
        new() { ShortestEdge = null, Height = height, Width = width, DoCenterCrop = false, DoNormalize = false };

    /// <summary>Reads the file of a folder; null where there is none.</summary>
    /// <param name="folder">The folder of a model.</param>
    /// <exception cref="UserError">The file is not valid, or asks for what is not supported (names it).</exception>
    public static ImageProcessorConfig? Find(string folder) => CheckpointFile.Find(folder, FileName) is { } text ? Parse(text) : null;

    /// <summary>Reads the text of a preprocessor_config.json.</summary>
    /// <exception cref="UserError">It is not valid, or asks for what is not supported (names it).</exception>
    public static ImageProcessorConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, FileName);
        var type = c.Text("image_processor_type") ?? c.Text("feature_extractor_type") ?? "CLIPImageProcessor";
        var d = type.Replace("Fast", "", StringComparison.Ordinal) switch
        {
            "CLIPImageProcessor" or "CLIPFeatureExtractor" => new ImageProcessorConfig(),
            "ViTImageProcessor" or "ViTFeatureExtractor" =>
                Plain(224, 224) with { DoNormalize = true, Resample = 2, Mean = [0.5, 0.5, 0.5], Std = [0.5, 0.5, 0.5] },
            "SiglipImageProcessor" => Plain(224, 224) with { DoNormalize = true, Mean = [0.5, 0.5, 0.5], Std = [0.5, 0.5, 0.5] },
            _ => throw c.Unsupported("image_processor_type", $"\"{type}\"", "CLIPImageProcessor, ViTImageProcessor, SiglipImageProcessor"),
        };
        var (shortest, height, width) = Size(c, d);
        var crop = (Height: (long)d.CropHeight, Width: (long)d.CropWidth);
        if (c.IsObject("crop_size")) crop = (c.Child("crop_size").Integer("height", crop.Height),
            c.Child("crop_size").Integer("width", crop.Width));
        else if (c.OptionalInteger("crop_size") is { } side) crop = (side, side);
        var config = d with
        {
            DoResize = c.Flag("do_resize", d.DoResize),
            ShortestEdge = shortest,
            Height = height,
            Width = width,
            Resample = (int)c.Integer("resample", d.Resample, 0),
            DoCenterCrop = c.Flag("do_center_crop", d.DoCenterCrop),
            CropHeight = Pixels(c, "crop_size", crop.Height),
            CropWidth = Pixels(c, "crop_size", crop.Width),
            DoRescale = c.Flag("do_rescale", d.DoRescale),
            RescaleFactor = c.Number("rescale_factor", d.RescaleFactor),
            DoNormalize = c.Flag("do_normalize", d.DoNormalize),
            Mean = c.Numbers("image_mean", d.Mean, 3),
            Std = c.Numbers("image_std", d.Std, 3),
        };
        if (config.Resample > 5) throw c.Unsupported("resample", $"{config.Resample}",
            "0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 (box), 5 (Hamming)");
        return config.Std.All(std => std > 0) ? config
            : throw c.Unsupported("image_std", string.Join(", ", config.Std), "positive numbers");
    }

    // A number, {"shortest_edge": n} or {"height": h, "width": w}. Of a ViT a number is both sides.
    private static (int? Shortest, int Height, int Width) Size(ConfigReader c, ImageProcessorConfig d)
    {
        if (!c.Has("size")) return (d.ShortestEdge, d.Height, d.Width);
        if (!c.IsObject("size"))
        {
            var side = Pixels(c, "size", c.Integer("size", 224));
            return d.ShortestEdge is null ? (null, side, side) : (side, side, side);
        }
        var size = c.Child("size");
        if (size.Has("longest_edge")) throw size.Unsupported("longest_edge", $"{size.Integer("longest_edge", 0)}",
            "shortest_edge alone, or height and width");
        if (size.OptionalInteger("shortest_edge") is { } shortest) return (Pixels(c, "size", shortest), d.Height, d.Width);
        return size.Has("height") && size.Has("width")
            ? (null, Pixels(c, "size", size.Integer("height", 0)), Pixels(c, "size", size.Integer("width", 0)))
            : throw c.Unsupported("size", "an object without them", "shortest_edge, or height and width");
    }

    private static int Pixels(ConfigReader c, string name, long length) =>
        length <= 16384 ? (int)length : throw c.Unsupported(name, $"{length}", "at most 16384 pixels");
}
