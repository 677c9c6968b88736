using System.Text;
using OrtRlhf.Graph;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Tuning.Tests.Prompts;

public sealed class PromptListTests
{
    [Theory]
    [InlineData("a cat\na dog\n")]
    [InlineData("a cat\na dog")]
    [InlineData("  a cat \r\na dog\r\n")]
    [InlineData("\uFEFFa cat\na dog\n")]
    [InlineData("a {cat|dog}\n")]
    public void Read_Lines_Result(string text)
    {
        using var folder = new TempFolder();
        Assert.Equal(["a cat", "a dog"], PromptList.Read(Written(folder, Encoding.UTF8.GetBytes(text))).Prompts);
    }

    [Theory]
    [InlineData("", "the prompt file is empty")]
    [InlineData("\uFEFF", "the prompt file is empty")]
    [InlineData("\n", "line 1: the line is empty")]
    [InlineData("a\n\nb\n", "line 2: the line is empty")]
    [InlineData("a\n  \t\nb\n", "line 2: the line is empty")]
    [InlineData("a\n\n", "line 2: the line is empty")]
    [InlineData("a\nb\0c\n", "line 2: the prompt contains a NUL character at position 2")]
    [InlineData("a\nb\n{c\n", "line 3: '{' at character 1 is never closed")]
    public void Read_Fault_ThrowsForUserWithLine(string text, string expected)
    {
        using var folder = new TempFolder();
        var path = Written(folder, Encoding.UTF8.GetBytes(text));
        var error = Assert.Throws<UserError>(() => PromptList.Read(path));
        Assert.StartsWith(path, error.Message);
        Assert.Contains(expected, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Read_NotUtf8_ThrowsForUserWithLine()
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<UserError>(() =>
            PromptList.Read(Written(folder, [(byte)'a', (byte)'\n', (byte)'c', 0xE9, (byte)'!', (byte)'\n'])));
        Assert.Contains("line 2: expected UTF-8 text, got the byte 0xE9 at position 2", error.Message);
    }

    [Fact]
    public void Read_TooLong_ThrowsForUserWithLine()
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<UserError>(() => PromptList.Read(Written(folder, Encoding.UTF8.GetBytes("a\n" + new string('x', 4001)))));
        Assert.Contains("line 2: the prompt has 4001 characters", error.Message);
    }

    [Fact]
    public void Read_TooManyOverAllLines_ThrowsForUser()
    {
        using var folder = new TempFolder();
        var line = string.Concat(Enumerable.Repeat("{0|1|2|3|4|5|6|7|8|9}", 4));
        Assert.Contains("line 7: ", Assert.Throws<UserError>(() =>
            PromptList.Read(Written(folder, Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(line + "\n", 9)))))).Message);
    }

    [Fact]
    public void Read_Missing_ThrowsForUser()
    {
        using var folder = new TempFolder();
        Assert.Contains("no such prompt file", Assert.Throws<UserError>(() => PromptList.Read(folder.At("none.txt"))).Message);
        Assert.Contains("got a folder", Assert.Throws<UserError>(() => PromptList.Read(folder.Path)).Message);
    }

    [Fact]
    public void Of_NoPrompts_ThrowsForUser() => Assert.Throws<UserError>(() => PromptList.Of([]));

    [Fact]
    public void Draw_IsUniformAndRepeatable()
    {
        var prompts = PromptList.Of(["{0|1|2|3|4|5|6|7|8|9}"]);
        var draws = Enumerable.Range(0, 10_000).Select(i => prompts.Draw(7, (uint)i / 100, (uint)i % 100)).ToArray();
        Assert.All(draws.GroupBy(draw => draw), group => Assert.InRange(group.Count(), 850, 1150)); // five standard deviations
        Assert.Equal(10, draws.Distinct().Count());
        Assert.Equal(draws[314], prompts.Draw(7, 3, 14));
        Assert.NotEqual(draws.Take(100), Enumerable.Range(0, 100).Select(i => prompts.Draw(8, 0, (uint)i)));
    }

    [Theory]
    [InlineData(3, 3)]
    [InlineData(50, 5)]
    [InlineData(0, 0)]
    public void Split_KeepsTextsApart(int asked, int aside)
    {
        var prompts = PromptList.Of(["{0|1|2|3|4|5|6|7|8|9}", "{0|1|2|3|4}"]);
        var (training, heldOut) = prompts.Split(asked, seed: 1);
        Assert.Equal(aside, heldOut?.Prompts.Count ?? 0);
        Assert.Empty(training.Prompts.Intersect(heldOut?.Prompts ?? []));
        Assert.Equal(10, training.Prompts.Concat(heldOut?.Prompts ?? []).Distinct().Count());
        Assert.Equal(heldOut?.Prompts, prompts.Split(asked, seed: 1).HeldOut?.Prompts);
    }

    [Fact]
    public void Split_OnePrompt_TrainsOnIt()
    {
        var (training, heldOut) = PromptList.Of(["a cat"]).Split(8, seed: 1);
        Assert.Equal(["a cat"], training.Prompts);
        Assert.Null(heldOut);
    }

    private static string Written(TempFolder folder, byte[] bytes)
    {
        var path = folder.At("prompts.txt");
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
