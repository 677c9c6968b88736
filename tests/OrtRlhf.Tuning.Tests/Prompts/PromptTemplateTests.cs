using OrtRlhf.Graph;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Tuning.Tests.Prompts;

public sealed class PromptTemplateTests
{
    [Theory]
    [InlineData("a red circle", "a red circle")]
    [InlineData("{a|b|c} {x|y}", "a x;a y;b x;b y;c x;c y")]
    [InlineData("a {|red|blue} cat", "a cat;a red cat;a blue cat")]
    [InlineData("{a {big|small} cat|a dog}!", "a big cat!;a small cat!;a dog!")]
    [InlineData("{one}", "one")]
    [InlineData(@"\{a\|b\} {c|d\\}", @"{a|b} c;{a|b} d\")]
    [InlineData("a | b", "a | b")]
    [InlineData(@"C:\x", @"C:\x")]
    public void Expand_Template_Result(string template, string expected) =>
        Assert.Equal(expected.Split(';'), PromptTemplate.Expand(template));

    [Theory]
    [InlineData("a {b|c", "'{' at character 3 is never closed")]
    [InlineData("a {b|{c}", "'{' at character 3 is never closed")]
    [InlineData("a b} c", "'}' at character 4 closes nothing")]
    public void Expand_UnmatchedBraces_ThrowsForUser(string template, string expected)
    {
        var error = Assert.Throws<UserError>(() => PromptTemplate.Expand(template, "p.txt, line 3"));
        Assert.StartsWith("p.txt, line 3: ", error.Message);
        Assert.Contains(expected, error.Message);
    }

    [Fact]
    public void Expand_TooMany_ThrowsForUserAtOnce()
    {
        var digits = "{0|1|2|3|4|5|6|7|8|9}";
        Assert.Equal(10_000, PromptTemplate.Expand(string.Concat(Enumerable.Repeat(digits, 4))).Count);
        var error = Assert.Throws<UserError>(() => PromptTemplate.Expand(string.Concat(Enumerable.Repeat(digits, 40))));
        Assert.Contains("more than 65536 prompts", error.Message);
    }
}
