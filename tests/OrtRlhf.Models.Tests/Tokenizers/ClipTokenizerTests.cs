using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Tokenizers;

public class ClipTokenizerTests
{
    [Fact]
    public void Cases_MatchReference()
    {
        var tokenizer = ClipTokenizer.Open(Golden.At("sd1-tiny/tokenizer"));
        using var golden = JsonDocument.Parse(Golden.Text("sd1-tiny/golden.json"));
        var cases = golden.RootElement.GetProperty("tokenizer_cases").GetProperty("cases").EnumerateArray().ToList();
        Assert.Equal(15, cases.Count);
        foreach (var item in cases)
            Assert.Equal(item.GetProperty("ids").EnumerateArray().Select(i => i.GetInt64()),
                tokenizer.EncodeUnpadded(item.GetProperty("text").GetString()!));
        foreach (var prompt in golden.RootElement.GetProperty("prompts").EnumerateArray())
            Assert.Equal(prompt.GetProperty("input_ids").EnumerateArray().Select(i => i.GetInt64()),
                tokenizer.Encode(prompt.GetProperty("text").GetString()!));
    }

    [Fact]
    public void PadTokenExclamationMark_EveryOneBecomesPadding()
    {
        var tokenizer = Small(new ClipSpecialTokens { Pad = "!" });
        Assert.Equal([Start, A, 0, 0, A, End], tokenizer.EncodeUnpadded("a!! a"));
        Assert.Equal(0, tokenizer.Encode("a")[^1]);
        Assert.Equal([Start, A, 1, End], Small(new ClipSpecialTokens()).EncodeUnpadded("a!"));
    }

    [Theory]
    [InlineData("e\u0301", "é")]
    [InlineData("\u1112\u1161\u11ab", "한")]
    [InlineData("A\u030A", "å")]
    [InlineData("İ ΟΔΟΣ", "i\u0307 οδος")]
    [InlineData("a\u200Bb\u0000c\uFEFF", "abc")]
    [InlineData(" a\u00A0\u2028b\r\n", "a b")]
    [InlineData("日本 x", "日 本 x")]
    public void Clean_UnicodeText_MatchesReference(string text, string expected) => Assert.Equal(expected, ClipText.Clean(text));

    [Fact]
    public void Words_AstralLettersAndDigits_KeepTheirKind() =>
        Assert.Equal(["𝒜b", "1", "²", "🙂!", "'s", "'s", "x"], ClipText.Words("𝒜b1²🙂! 's's x", []));

    [Fact]
    public void Open_HostileFiles_ThrowsForEach()
    {
        using var folder = new TempFolder();
        Assert.Contains("vocab.json", Assert.Throws<UserError>(() => ClipTokenizer.Open(folder.Path)).Message);
        File.WriteAllText(folder.At("vocab.json"), """{"<|startoftext|>":0,"<|endoftext|>":1}""");
        using (var huge = File.Create(folder.At("merges.txt"))) huge.SetLength(1L << 30);
        var error = Assert.Throws<UserError>(() => ClipTokenizer.Open(folder.Path));
        Assert.Contains("1073741824 bytes", error.Message);
        File.WriteAllText(folder.At("merges.txt"), "#version\na b\nc\n");
        Assert.Contains("line 3", Assert.Throws<UserError>(() => ClipTokenizer.Open(folder.Path)).Message);
        File.WriteAllText(folder.At("merges.txt"), "#version\na b\n");
        Assert.Equal([0, 1], ClipTokenizer.Open(folder.Path).EncodeUnpadded(""));
        File.WriteAllText(folder.At("vocab.json"), string.Concat(Enumerable.Repeat("{\"a\":", 10000)));
        Assert.Throws<UserError>(() => ClipTokenizer.Open(folder.Path));
        File.WriteAllText(folder.At("vocab.json"), """{"a":-1}""");
        Assert.Throws<UserError>(() => ClipTokenizer.Open(folder.Path));
    }

    [Fact]
    public void Encode_LongText_IsCutAndEndsWithEnd()
    {
        var ids = Small(new ClipSpecialTokens { MaxLength = 8 }).Encode(string.Concat(Enumerable.Repeat("a ", 100)));
        Assert.Equal([Start, A, A, A, A, A, A, End], ids);
        Assert.Throws<UserError>(() => Small(new ClipSpecialTokens()).Encode(new string('a', ClipTokenizer.MaxCharacters + 1)));
    }

    private const long A = 2, Start = 3, End = 4;

    private static ClipTokenizer Small(ClipSpecialTokens special) =>
        new(new Dictionary<string, long> { ["!"] = 0, ["!</w>"] = 1, ["a</w>"] = A, ["<|startoftext|>"] = Start, ["<|endoftext|>"] = End },
            [], special);
}
