using OrtRlhf.Graph;

namespace OrtRlhf.Models.Tests.Tokenizers;

public sealed class UnigramTokenizerTests : IDisposable
{
    /// <summary>In the form of T5's, with few pieces.</summary>
    internal const string Json = """
        {"version":"1.0","added_tokens":[{"id":0,"content":"<pad>","special":true},{"id":1,"content":"</s>","special":true},{"id":20,"content":"<extra_id_0>","lstrip":false,"rstrip":true}],
         "normalizer":{"type":"Sequence","normalizers":[{"type":"Precompiled","precompiled_charsmap":"MAP"},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},
         "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace","replacement":"▁","add_prefix_space":true}]},
         "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],"special_tokens":{"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}}},
         "model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["▁he",-3],["llo",-4],["l",-3],["o",-3],["▁h",-2.5],["ello",-5],["e",-6],["<0x78>",-9],["<0x79>",-9],["é",-2]]}}
        """;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("hello", new long[] { 4, 5, 1 })]
    [InlineData("hello \n lo", new long[] { 4, 5, 3, 6, 7, 1 })]
    [InlineData("", new long[] { 1 })]
    [InlineData("  ", new long[] { 1 })]
    [InlineData("xly", new long[] { 3, 2, 6, 2, 1 })]
    [InlineData("xx🙂y", new long[] { 3, 2, 1 })]
    [InlineData("he<extra_id_0> llo</s>", new long[] { 4, 20, 3, 5, 1, 1 })]
    public void EncodeUnpadded_TakesTheLikeliestPieces(string text, long[] ids) =>
        Assert.Equal(ids, Open(Json.Replace("MAP", "")).EncodeUnpadded(text));

    [Fact]
    public void Encode_CutsBeforeTheEndAndFillsUp()
    {
        var tokenizer = Open(Json.Replace("MAP", ""));
        Assert.Equal([4, 5, 1, 0, 0], tokenizer.Encode("hello", 5));
        Assert.Equal([4, 1], tokenizer.Encode("hello", 2));
        Assert.Equal(512, tokenizer.Encode(["a", "b"]).Dims[1]);
        Assert.Throws<UserError>(() => tokenizer.Encode("hello", 0));
        Assert.Throws<UserError>(() => tokenizer.Encode(new string('a', UnigramTokenizer.MaxCharacters + 1)));
    }

    [Fact]
    public void ByteFallback_WritesUnknownCharactersAsBytes()
    {
        var tokenizer = Open(Json.Replace("MAP", "").Replace("\"unk_id\":2", "\"unk_id\":2,\"byte_fallback\":true"));
        Assert.Equal([3, 11, 12, 1], tokenizer.EncodeUnpadded("xy"));
        Assert.Equal([3, 2, 1], tokenizer.EncodeUnpadded("xyz"));
    }

    [Fact]
    public void PrecompiledCharsmap_ReplacesClustersAndCharacters()
    {
        // A becomes "he", e with an acute mark behind it one letter; two ways through a double array, made by hand.
        var array = new uint[0x2000];
        array[0] = 0x100 << 10;
        array[0x141] = 0x41 | 1 << 8 | 0x200 << 10;
        array[0x341] = 0;
        array[0x165] = 0x65 | 0x400 << 10;
        array[0x5A9] = 0xCC | 0x800 << 10;
        array[0xD28] = 0x81 | 1 << 8 | 0x1000 << 10;
        array[0x1D28] = 3;
        byte[] map = [.. BitConverter.GetBytes(array.Length * 4), .. array.SelectMany(BitConverter.GetBytes), .. "he\0é\0"u8];
        var tokenizer = Open(Json.Replace("MAP", Convert.ToBase64String(map)));
        Assert.Equal([4, 5, 1], tokenizer.EncodeUnpadded("Allo"));
        Assert.Equal([3, 13, 10, 1], tokenizer.EncodeUnpadded("e\u0301e"));
    }

    [Theory]
    [InlineData("Unigram", "BPE", "model type \"BPE\"")]
    [InlineData("\"Replace\"", "\"Nmt\"", "normalizer \"Nmt\"")]
    [InlineData("WhitespaceSplit", "ByteLevel", "pre_tokenizer \"ByteLevel\"")]
    [InlineData("TemplateProcessing", "BertProcessing", "post_processor \"BertProcessing\"")]
    [InlineData("\"unk_id\":2", "\"unk_id\":99", "unk_id")]
    [InlineData(" {2,}", "(?=a)", "(?=a)")]
    [InlineData("MAP", "AAA", "base64")]
    [InlineData("MAP", "/////w==", "cut off")]
    public void Open_NotSupported_ThrowsAndNamesIt(string what, string with, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => Open(Json.Replace(what, with).Replace("MAP", ""))).Message);

    [Fact]
    public void Open_SpieceModelAlone_SaysWhatIsExpected()
    {
        File.WriteAllText(_folder.At("spiece.model"), "x");
        Assert.Contains("expected tokenizer.json", Assert.Throws<UserError>(() => UnigramTokenizer.Open(_folder.Path)).Message);
    }

    private UnigramTokenizer Open(string json)
    {
        File.WriteAllText(_folder.At(UnigramTokenizer.FileName), json);
        return UnigramTokenizer.Open(_folder.Path);
    }
}
