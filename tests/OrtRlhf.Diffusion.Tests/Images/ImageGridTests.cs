using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Images;

public sealed class ImageGridTests
{
    [Fact]
    public void Draw_EdgeToEdge_PlacesRowsThenColumns()
    {
        var images = Enumerable.Range(0, 4).Select(i => Flat(2, 3, (byte)(10 * i))).ToArray();
        var sheet = new ImageGrid { Columns = 3, Margin = 0 }.Draw(images);
        Assert.Equal((6, 6), (sheet.Width, sheet.Height));
        Assert.Equal([0, 10, 20, 30], new[] { sheet[1, 2].R, sheet[2, 0].R, sheet[5, 2].R, sheet[0, 3].R });
        Assert.Equal((250, 250, 248), sheet[5, 5]);
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(4, 2, 2)]
    [InlineData(5, 3, 2)]
    [InlineData(9, 3, 3)]
    public void Draw_DefaultColumns_IsAboutSquare(int count, int columns, int rows)
    {
        var sheet = new ImageGrid { Margin = 1 }.Draw([.. Enumerable.Range(0, count).Select(_ => Flat(4, 4, 0))]);
        Assert.Equal((1 + 5 * columns, 1 + 5 * rows), (sheet.Width, sheet.Height));
    }

    [Fact]
    public void Draw_Scale_RepeatsPixels()
    {
        var image = NoiseImage.Of(5, 4, 1);
        var sheet = new ImageGrid { Margin = 2, Scale = 3 }.Draw([image]);
        Assert.Equal((19, 16), (sheet.Width, sheet.Height));
        for (var (x, y) = (0, 0); y < 12; (x, y) = x == 14 ? (0, y + 1) : (x + 1, y)) Assert.Equal(image[x / 3, y / 3],
            sheet[2 + x, 2 + y]);
    }

    [Fact]
    public void Draw_Captions_AreInkBelowTheImage()
    {
        var plain = new ImageGrid().Draw([Flat(64, 64, 9)]);
        var sheet = new ImageGrid().Draw([Flat(64, 64, 9)], ["two small red circles left of a large blue square"]);
        Assert.Equal(plain.Height + 3 + 3 * Caption.LineHeight, sheet.Height);
        // Each of three lines has strokes, left of the cell's right edge and on plain paper.
        for (var line = 0; line < 3; line++)
            Assert.Contains(Pixels(4, 68, 4 + 64 + 3 + line * Caption.LineHeight, Caption.LineHeight), at => sheet[at.X, at.Y].R < 90);
        Assert.All(Pixels(68, sheet.Width, 0, sheet.Height), at => Assert.Equal((250, 250, 248), sheet[at.X, at.Y]));
        Assert.True(sheet.SameAs(new ImageGrid().Draw([Flat(64, 64, 9)], ["two small red circles left of a large blue square"])));

        static IEnumerable<(int X, int Y)> Pixels(int left, int right, int top, int height) =>
            from y in Enumerable.Range(top, height) from x in Enumerable.Range(left, right - left) select (x, y);
    }

    [Theory]
    [InlineData("two small red circles", 64, "two small red circles")]
    [InlineData("a red circle left of a large blue square", 64, "a red circle left of a lar…")]
    [InlineData("short", 64, "short")]
    [InlineData("", 64, "")]
    [InlineData(" two\nlines\0\u200b ", 128, "two lines")]
    [InlineData("Füße & <b>", 128, "Füße & <b>")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaa", 35, "aaaaaaaaa…")]
    [InlineData("a", 1, "a")]
    public void Fit_TwoLines_Result(string text, int width, string expected)
    {
        var fitted = Caption.Fit(text, width, 2);
        Assert.Equal(expected, fitted);
        Assert.InRange(Caption.Lines(fitted, width), 0, 2);
        using var ink = Caption.Ink(fitted, width);
        if (width > 10) Assert.InRange((ink?.Xoffset + ink?.Width) ?? 0, 0, width);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Lines_OfLetters_AreLineHeightsApart(int lines)
    {
        using var ink = Caption.Ink(string.Join('\n', Enumerable.Repeat("Äg", lines)), 100);
        using var one = Caption.Ink("Äg", 100);
        Assert.Equal((lines - 1) * Caption.LineHeight, ink!.Height - one!.Height);
        Assert.Equal(lines, Caption.Lines(string.Join('\n', Enumerable.Repeat("Äg", lines)), 100));
    }

    [Theory]
    [InlineData("\u2800\u3164")]
    [InlineData("\ud800")]
    [InlineData("</span>&#0;&bogus;")]
    [InlineData("日本語 🙂 العربية")]
    public void Draw_HostileCaption_IsDrawn(string caption) => Assert.True(new ImageGrid().Draw([Flat(64, 64, 9)], [caption]).Height >= 72);

    [Fact]
    public void Draw_WrongCaptionCount_Throws() =>
        Assert.Throws<ArgumentException>(() => new ImageGrid().Draw([Flat(2, 2, 0)], ["a", "b"]));

    [Fact]
    public void Draw_NoImages_Throws() => Assert.Throws<ArgumentException>(() => new ImageGrid().Draw([]));

    private static RgbImage Flat(int width, int height, byte value) =>
        new(width, height, [.. Enumerable.Repeat(value, 3 * width * height)]);
}
