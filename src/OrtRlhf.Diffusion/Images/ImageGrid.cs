namespace OrtRlhf.Diffusion.Images;

/// <summary>Many images as one: a sheet of equal cells on a light ground, with captions below the images.</summary>
public sealed record ImageGrid
{
    private static readonly (byte, byte, byte) Ink = (40, 44, 52);
    private static readonly (byte, byte, byte) Paper = (250, 250, 248);

    /// <summary>Images in a row; 0, the default, makes the sheet about square.</summary>
    public int Columns { get; init; }

    /// <summary>Pixels around and between cells, default 4; 0 puts images edge to edge.</summary>
    public int Margin { get; init; } = 4;

    /// <summary>Each pixel becomes a square of this side, default 1; captions keep their size.</summary>
    public int Scale { get; init; } = 1;

    /// <summary>Most lines of a caption, default 3; longer ones end in "..".</summary>
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
        var lines = captions?.Select(caption => BitmapFont.Wrap(caption, width, CaptionLines)).ToArray();
        var captionLines = lines?.Max(caption => caption.Count) ?? 0;
        var captionHeight = captionLines == 0 ? 0 : 2 + captionLines * BitmapFont.LineHeight;
        var columns = Columns > 0 ? Math.Min(Columns, images.Count) : (int)Math.Ceiling(Math.Sqrt(images.Count));
        var rows = (images.Count + columns - 1) / columns;

        var sheet = new RgbImage(Margin + columns * (width + Margin), Margin + rows * (height + captionHeight + Margin));
        for (var i = 0; i < sheet.MutablePixels.Length; i += 3)
        {
            (sheet.MutablePixels[i], sheet.MutablePixels[i + 1], sheet.MutablePixels[i + 2]) = Paper;
        }
        for (var i = 0; i < images.Count; i++)
        {
            var left = Margin + i % columns * (width + Margin);
            var top = Margin + i / columns * (height + captionHeight + Margin);
            Paste(sheet, images[i], left + (width - images[i].Width * Scale) / 2, top + (height - images[i].Height * Scale) / 2);
            for (var line = 0; line < (lines?[i].Count ?? 0); line++)
            {
                BitmapFont.Draw(sheet, left, top + height + 3 + line * BitmapFont.LineHeight, lines![i][line], Ink);
            }
        }
        return sheet;
    }

    private void Paste(RgbImage sheet, RgbImage image, int left, int top)
    {
        for (var y = 0; y < image.Height * Scale; y++)
        {
            var target = sheet.MutablePixels[(3 * ((top + y) * sheet.Width + left))..];
            var source = image.Pixels[(3 * (y / Scale) * image.Width)..];
            for (var x = 0; x < image.Width * Scale; x++) source.Slice(3 * (x / Scale), 3).CopyTo(target[(3 * x)..]);
        }
    }
}
