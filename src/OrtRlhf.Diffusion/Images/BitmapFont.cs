namespace OrtRlhf.Diffusion.Images;

/// <summary>
/// A small proportional typeface of our own for captions: capitals 7 pixels tall, lines of 9 with descenders. The same on every
/// machine, with no font installed. Characters outside ASCII show as '?'.
/// </summary>
internal static class BitmapFont
{
    /// <summary>Height of a line in pixels, one row of space included.</summary>
    public const int LineHeight = 10;

    private const int GlyphHeight = 9;

    // From space to '~'; a column of pixels is three hexadecimal digits, the top row in the lowest bit.
    private const string Columns = """
        000000000 05f 003000003 01407f01407f014 02402a07f02a012 023013008064062 036049055022050 003 01c022041 04102201c
        01400803e008014 00800803e008008 080060 008008008 040 060010008004003 03e05104904503e 04207f040 042061051049046
        041049049049036 01801401207f010 027045045045039 03c04a049049030 001001079005003 036049049049036 00604904902901e 024
        080064 008014022041 014014014014 041022014008 002001051009006 03e04105d05501e 07e00900900907e 07f049049049036
        03e041041041022 07f04104104103e 07f049049049041 07f009009009001 03e04104904907a 07f00800800807f 04107f041
        02004004103f001 07f008014022041 07f040040040040 07f00200c00207f 07f00200c01007f 03e04104104103e 07f009009009006
        03e04104102105e 07f009019029046 046049049049031 00100107f001001 03f04004004003f 01f02004002001f 07f02001802007f
        063014008014063 003004078004003 061051049045043 07f041 003004008010060 04107f 004002001002004 080080080080080 001002
        020054054054078 07f044044044038 038044044044 03804404404407f 038054054054018 00407e005005 0381441441440fc
        07f004004004078 07d 1001000fd 07f010028044 03f040 07c00407c004078 07c004004004078 038044044044038 1fc044044044038
        0380440440441fc 07c008004004 048054054024 00403e044044 03c04004004007c 01c02004002001c 03c04003804003c
        044028010028044 03c1401401400fc 04406405404c044 008036041 0ff 041036008 01800400801000c
        """;

    private static readonly ushort[][] Glyphs =
        [.. Columns.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).Select(glyph => glyph.Chunk(3).Select(column => Convert.ToUInt16(new string(column), 16)).ToArray())];

    /// <summary>Width of a text in pixels.</summary>
    public static int Width(string text) => Math.Max(0, text.Sum(symbol => Glyph(symbol).Length + 1) - 1);

    /// <summary>Draws a line with its left top corner at (x, y); what lies outside the image is cut off.</summary>
    public static void Draw(RgbImage image, int x, int y, string text, (byte, byte, byte) colour)
    {
        foreach (var symbol in text)
        {
            foreach (var column in Glyph(symbol))
            {
                for (var row = 0; row < GlyphHeight; row++)
                {
                    if ((column >> row & 1) != 0 && x >= 0 && x < image.Width && y + row >= 0 && y + row < image.Height) image[x, y + row] = colour;
                }
                x++;
            }
            x++;
        }
    }

    /// <summary>Breaks a text at blanks into lines that fit; what does not fit into the last line ends in "..".</summary>
    public static IReadOnlyList<string> Wrap(string text, int width, int maxLines)
    {
        var lines = new List<string>();
        var rest = text.Trim();
        while (rest.Length > 0 && lines.Count < maxLines)
        {
            var fits = Enumerable.Range(0, rest.Length + 1).Last(length => Width(rest[..length]) <= width);
            if (fits == rest.Length || lines.Count == maxLines - 1)
            {
                lines.Add(Shorten(rest, width));
                break;
            }
            var blank = rest.LastIndexOf(' ', Math.Min(fits, rest.Length - 1));
            var cut = blank > 0 ? blank : Math.Max(fits, 1);
            lines.Add(rest[..cut].TrimEnd());
            rest = rest[cut..].TrimStart();
        }
        return lines;
    }

    private static string Shorten(string line, int width)
    {
        if (Width(line) <= width) return line;
        var length = line.Length;
        while (length > 0 && Width(line[..length].TrimEnd() + "..") > width) length--;
        return line[..length].TrimEnd() + "..";
    }

    private static ushort[] Glyph(char symbol) => Glyphs[symbol is >= ' ' and <= '~' ? symbol - ' ' : '?' - ' '];
}
