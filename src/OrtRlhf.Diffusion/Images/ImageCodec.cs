using NetVips;
using OrtRlhf.Graph;
using VipsImage = NetVips.Image;

namespace OrtRlhf.Diffusion.Images;

/// <summary>Image files in memory and on disk: JPEG, PNG and WebP, by libvips. All methods may be called from many threads.</summary>
public static class ImageCodec
{
    // libvips leaves out the JFIF segment that libjpeg, and so Pillow, writes first: version 1.1, no density, no thumbnail.
    private static readonly byte[] Jfif = [0xFF, 0xE0, 0, 16, (byte)'J', (byte)'F', (byte)'I', (byte)'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0];

    /// <summary>The version of libvips at hand.</summary>
    /// <exception cref="UserError">libvips cannot be loaded.</exception>
    public static Version LibraryVersion => VipsImages.Version;

    /// <summary>
    /// A baseline JPEG exactly as Pillow writes it (<c>image.save(f, "JPEG", quality=q)</c>): 4:2:0, Annex K tables scaled
    /// by quality, standard Huffman tables, JFIF header, no metadata. At quality 95 this is the file whose size is the
    /// JPEG reward of DDPO.
    /// </summary>
    /// <param name="image">The image.</param>
    /// <param name="quality">1 to 100, default 95.</param>
    /// <exception cref="UserError">libvips refuses, for instance a side over 65500 pixels.</exception>
    public static byte[] EncodeJpeg(RgbImage image, int quality = 95)
    {
        var bare = BareJpeg(image, quality);
        var file = new byte[bare.Length + Jfif.Length];
        bare.AsSpan(0, 2).CopyTo(file);
        Jfif.CopyTo(file, 2);
        bare.AsSpan(2).CopyTo(file.AsSpan(2 + Jfif.Length));
        return file;
    }

    /// <summary>The length in bytes of <see cref="EncodeJpeg"/>'s file.</summary>
    /// <inheritdoc cref="EncodeJpeg" path="/param|/exception"/>
    public static int JpegSize(RgbImage image, int quality = 95) => BareJpeg(image, quality).Length + Jfif.Length;

    /// <summary>A PNG, 8-bit RGB, lossless, no metadata; the same image always gives the same bytes.</summary>
    /// <param name="image">The image.</param>
    /// <param name="compression">zlib level, 0 to 9, default 6.</param>
    public static byte[] EncodePng(RgbImage image, int compression = 6) =>
        Encode(image, pixels => pixels.PngsaveBuffer(compression, keep: Enums.ForeignKeep.None));

    /// <summary>A WebP, without metadata.</summary>
    /// <param name="image">The image.</param>
    /// <param name="quality">1 to 100, default 90; not used when lossless.</param>
    /// <param name="lossless">Exact pixels, default false.</param>
    public static byte[] EncodeWebp(RgbImage image, int quality = 90, bool lossless = false) =>
        Encode(image, pixels => pixels.WebpsaveBuffer(quality, lossless, keep: Enums.ForeignKeep.None));

    /// <summary>
    /// Decodes a JPEG, PNG or WebP (its first frame) into 8-bit sRGB: turned upright by its EXIF orientation, transparency
    /// laid over white, grey repeated, 16 bits reduced to 8.
    /// </summary>
    /// <param name="file">The whole file.</param>
    /// <param name="where">How errors name it, a path for instance.</param>
    /// <exception cref="UserError">Not an image of these formats, truncated, damaged, or over 2 GB of pixels.</exception>
    public static RgbImage Decode(ReadOnlySpan<byte> file, string where = "image")
    {
        if (file.IsEmpty) throw new UserError($"{where}: expected an image file (JPEG, PNG, WebP), got 0 bytes.");
        VipsImages.Require();
        // libvips also reads SVG, PDF and more; what comes from outside is not handed to those.
        if (VipsImage.FindLoadBuffer(file) is not (
            "VipsForeignLoadJpegBuffer" or "VipsForeignLoadPngBuffer" or "VipsForeignLoadWebpBuffer"))
        {
            var start = Convert.ToHexString(file[..Math.Min(8, file.Length)]);
            // Making a VipsException takes libvips's message, which would else stand before the next one.
            throw new UserError($"{where}: expected a JPEG, PNG or WebP image, got {file.Length} bytes that begin with {start}.",
                new VipsException("no loader"));
        }
        try
        {
            using var stored = VipsImage.NewFromBuffer(file, failOn: Enums.FailOn.Truncated);
            using var upright = stored.Autorot();
            using var colours = upright.Colourspace(Enums.Interpretation.Srgb);
            using var opaque = colours.HasAlpha() ? colours.Flatten(background: [255]) : colours.Copy();
            using var bytes = opaque.Cast(Enums.BandFormat.Uchar);
            return VipsImages.Pixels(bytes, where);
        }
        catch (VipsException fault)
        {
            throw VipsImages.Failure(where, "the image is truncated or damaged", fault);
        }
    }

    /// <summary>Reads an image file.</summary>
    /// <param name="path">Path of a JPEG, PNG or WebP.</param>
    /// <exception cref="UserError">Missing, unreadable, or as <see cref="Decode"/>.</exception>
    public static RgbImage Read(string path)
    {
        try
        {
            return Decode(File.ReadAllBytes(path), path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"{path}: cannot read the image: {fault.Message}", fault);
        }
    }

    /// <summary>Encodes by a file name's ending: .png, .jpg or .jpeg (quality 95), .webp (quality 90).</summary>
    /// <param name="image">The image.</param>
    /// <param name="path">The name whose ending chooses the format.</param>
    /// <exception cref="UserError">Another ending.</exception>
    public static byte[] Encode(RgbImage image, string path) => Path.GetExtension(path).ToLowerInvariant() switch
    {
        ".png" => EncodePng(image),
        ".jpg" or ".jpeg" => EncodeJpeg(image),
        ".webp" => EncodeWebp(image),
        var other => throw new UserError($"{path}: cannot write images as '{other}': use .png, .jpg or .webp."),
    };

    private static byte[] BareJpeg(RgbImage image, int quality) =>
        Encode(image, pixels => pixels.JpegsaveBuffer(quality, subsampleMode: Enums.ForeignSubsample.On, keep: Enums.ForeignKeep.None));

    private static byte[] Encode(RgbImage image, Func<VipsImage, byte[]> save)
    {
        try
        {
            using var pixels = VipsImages.Copy(image);
            return save(pixels);
        }
        catch (VipsException fault)
        {
            throw VipsImages.Failure("image encoder", "cannot encode the image", fault);
        }
    }
}
