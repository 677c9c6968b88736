using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using System.Text;
using NetVips;
using OrtRlhf.Graph;
using VipsImage = NetVips.Image;

namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// A text below an image, drawn by libvips in a font that lies beside the program, so that it looks the same on machines that have no
/// fonts: a part of DejaVu Sans Condensed under a name of its own, by which no installed font is taken instead.
/// </summary>
internal static partial class Caption
{
    /// <summary>From one line to the next, in pixels.</summary>
    public const int LineHeight = 13;

    private static readonly string FontFile = Beside("OrtRlhfSans.ttf");

    // Settings of the machine would change the strokes, and without any fontconfig complains on stderr. .NET's own setter does not reach C.
    static Caption()
    {
        const string setting = "FONTCONFIG_FILE";
        if (!OperatingSystem.IsWindows() && Environment.GetEnvironmentVariable(setting) is null) SetEnvironment(setting,
            Beside("fonts.conf"), 1);
    }

    /// <summary>How much of a text fits: the whole, or its beginning and "…".</summary>
    /// <param name="text">The text; line breaks become spaces, what cannot be seen is left out.</param>
    /// <param name="width">Pixels of a line. A text breaks at spaces, and inside words that are longer than a line.</param>
    /// <param name="maxLines">Most lines.</param>
    /// <exception cref="UserError">The font is missing.</exception>
    public static string Fit(string text, int width, int maxLines)
    {
        text = string.Concat(text.EnumerateRunes().Select(rune => Visible(rune) ? rune.ToString() : Rune.IsWhiteSpace(rune) ? " " : ""))
            .Trim();
        if (Lines(text, width) <= maxLines) return text;
        var ends = StringInfo.ParseCombiningCharacters(text);
        var (fits, tooMuch) = (0, ends.Length);
        while (tooMuch - fits > 1)
        {
            var half = (fits + tooMuch) / 2;
            if (Lines(Shortened(half), width) <= maxLines) fits = half; else tooMuch = half;
        }
        return fits == 0 ? "" : Shortened(fits);

        string Shortened(int length) => text[..ends[length]].TrimEnd() + "…";
    }

    /// <summary>Lines that a text takes, 0 when there is nothing to see.</summary>
    public static int Lines(string text, int width)
    {
        using var ink = Ink(text, width);
        return ink is null ? 0 : (ink.Yoffset + ink.Height + LineHeight - 1) / LineHeight;
    }

    /// <summary>
    /// How much ink each pixel takes, 0 to 255, one channel; null when there is nothing to see. Its offsets say where it lies.
    /// </summary>
    /// <exception cref="UserError">The font is missing.</exception>
    public static VipsImage? Ink(string text, int width)
    {
        VipsImages.Require();
        if (!File.Exists(FontFile)) throw new UserError(
            $"{FontFile}: no such file: captions need the font; build again, so that it lies beside the program.");
        if (text.Length == 0) return null;
        try
        {
            // libvips reads Pango's markup.
            return VipsImage.Text(WebUtility.HtmlEncode(text), "OrtRlhf Sans 8", width, dpi: 96, fontfile: FontFile,
                wrap: Enums.TextWrap.WordChar);
        }
        catch (VipsException fault) when (fault.Message.Contains("no text to render", StringComparison.Ordinal))
        {
            return null;
        }
    }

    private static string Beside(string file) => Path.Combine(AppContext.BaseDirectory, "fonts", file);

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetEnvironment(string name, string value, int overwrite);

    private static bool Visible(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.OtherNotAssigned);
}
