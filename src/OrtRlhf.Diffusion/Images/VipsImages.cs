using NetVips;
using OrtRlhf.Graph;
using VipsImage = NetVips.Image;

namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// The way from our images to libvips's and back. libvips keeps no operation cache and gives an operation one thread: parallel work is
/// spread over images, not inside one.
/// </summary>
internal static class VipsImages
{
    private static readonly string? Missing = Start();

    /// <summary>The version of libvips at hand.</summary>
    /// <exception cref="UserError">libvips cannot be loaded.</exception>
    public static Version Version
    {
        get
        {
            Require();
            return new Version(NetVips.NetVips.Version(0), NetVips.NetVips.Version(1), NetVips.NetVips.Version(2));
        }
    }

    /// <summary>Throws when libvips is not at hand.</summary>
    /// <exception cref="UserError">libvips cannot be loaded.</exception>
    public static void Require()
    {
        if (Missing is not null) throw new UserError($"libvips: cannot start: {Missing}. Run `ortrlhf doctor`.");
    }

    /// <summary>A copy in libvips's memory, as sRGB: without that its savers take three bands for anything.</summary>
    public static VipsImage Copy(RgbImage image)
    {
        Require();
        using var memory = VipsImage.NewFromMemoryCopy(image.Pixels, image.Width, image.Height, 3, Enums.BandFormat.Uchar);
        return memory.Copy(interpretation: Enums.Interpretation.Srgb);
    }

    /// <summary>The pixels of a three-channel image of bytes, which are computed here.</summary>
    /// <exception cref="UserError">Other channels, over 2 GB, or the file that it is read from is damaged.</exception>
    public static RgbImage Pixels(VipsImage image, string where)
    {
        if (3L * image.Width
            * image.Height > Array.MaxLength) throw new UserError($"{where}: the image is too large, {image.Width}x{image.Height}.");
        if (image.Bands != 3) throw new UserError($"{where}: expected three channels, got {image.Bands}.");
        return new RgbImage(image.Width, image.Height, image.WriteToMemory<byte>());
    }

    /// <summary>One line from libvips's message, which may have many, or none for some broken files.</summary>
    public static UserError Failure(string where, string what, VipsException fault)
    {
        // The first line is NetVips's own: which operation it called.
        var lines = fault.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Skip(1).Distinct();
        var detail = string.Join("; ", lines);
        return new UserError(detail.Length == 0 ? $"{where}: {what}." : $"{where}: {what} (libvips: {detail}).", fault);
    }

    private static string? Start()
    {
        if (!ModuleInitializer.VipsInitialized) return ModuleInitializer.Exception?.Message ?? "no reason given";
        NetVips.NetVips.Concurrency = 1;
        Cache.Max = 0;
        return null;
    }
}
