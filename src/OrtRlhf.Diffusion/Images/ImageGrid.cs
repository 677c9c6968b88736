using NetVips;
using VipsImage = NetVips.Image;

namespace OrtRlhf.Diffusion.Images;

/// <summary>Many images as one: a sheet of equal cells on a light ground, with captions below the images.</summary>
public sealed record ImageGrid
{
    private static readonly double[] Ink = [40, 44, 52];
    private static readonly double[] Paper = [250, 250, 248];

    /// <summary>Images in a row; 0, the default, makes the sheet about square.</summary>
    public int Columns { get; init; }

    /// <summary>Pixels around and between cells, default 4; 0 puts images edge to edge.</summary>
    public int Margin { get; init; } = 4;

    /// <summary>Each pixel becomes a square of this side, default 1; captions keep their size.</summary>
    public int Scale { get; init; } = 1;

    /// <summary>Most lines of a caption, default 3; longer ones end in "…".</summary>
    public int CaptionLines { get; init; } = 3;

    /// <summary>Draws the sheet.</summary>
    /// <param name="images">At least one; smaller ones are centred in their cells.</param>
    /// <param name="captions">One for each image, or null for none.</param>
    /// <exception cref="ArgumentException">No image, or as many captions as images are not given.</exception>
    public RgbImage Draw(IReadOnlyList<RgbImage> images, IReadOnlyList<string>? captions = null)
    {
        if (images.Count == 0) throw new ArgumentException("A grid needs at least one image.", nameof(images));
        if (captions is not null && captions.Count != images.Count)
        {
            throw new ArgumentException($"Expected {images.Count} captions, one an image; got {captions.Count}.", nameof(captions));
        }
        var (width, height) = (images.Max(image => image.Width) * Scale, images.Max(image => image.Height) * Scale);
        var texts = captions?.Select(caption => Caption.Fit(caption, width, CaptionLines)).ToArray();
        var lines = texts?.Max(text => Caption.Lines(text, width)) ?? 0;
        var below = lines == 0 ? 0 : 3 + lines * Caption.LineHeight;
        var columns = Columns > 0 ? Math.Min(Columns, images.Count) : (int)Math.Ceiling(Math.Sqrt(images.Count));

        var cells = images.Select((image, i) => Cell(image, width, height, below, texts?[i] ?? "")).ToArray();
        using var sheet = VipsImage.Arrayjoin(cells, columns, Margin, Paper);
        using var framed = sheet.Embed(Margin, Margin, sheet.Width + 2 * Margin, sheet.Height + 2 * Margin, Enums.Extend.Background, Paper);
        var result = VipsImages.Pixels(framed, "grid of images");
        foreach (var cell in cells) cell.Dispose();
        return result;
    }

    private VipsImage Cell(RgbImage image, int width, int height, int below, string caption)
    {
        using var stored = VipsImages.Copy(image);
        using var zoomed = stored.Zoom(Scale, Scale);
        var left = (width - zoomed.Width) / 2;
        using var paper = zoomed.Embed(left, (height - zoomed.Height) / 2, width, height + below, Enums.Extend.Background, Paper);
        using var ink = below == 0 ? null : Caption.Ink(caption, width);
        if (ink is null) return paper.Copy();
        using var place = ink.Embed(ink.Xoffset, height + 3 + ink.Yoffset, width, height + below);
        return place.Ifthenelse(Ink, paper, blend: true);
    }
}
