using System.Text.Json;
using OrtRlhf.Tests;

namespace OrtRlhf.Scenes.Tests;

public sealed class SceneVocabularyTests
{
    [Fact]
    public void Merges_ReplayedAsAnEncoderDoes_MakeEveryWordOneToken()
    {
        foreach (var word in SceneCaption.Words)
            Assert.Equal([word + "</w>"], Encode(word));
    }

    [Fact]
    public void Merges_OfAWordOutsideTheGrammar_SpellIt() =>
        Assert.Equal("dog</w>", string.Concat(Encode("dog")));

    [Fact]
    public void Tokens_AreLettersThenMergesThenSpecials()
    {
        var tokens = SceneVocabulary.Tokens;
        Assert.Equal(512 + SceneVocabulary.Merges.Count + 2, tokens.Count);
        Assert.Equal(tokens.Count, tokens.Distinct().Count());
        Assert.Equal(("!", "~", "¡", "ÿ", "Ā", "Ń"), (tokens[0], tokens[93], tokens[94], tokens[187], tokens[188], tokens[255]));
        Assert.Equal("!</w>", tokens[256]);
        Assert.Equal((SceneVocabulary.Start, SceneVocabulary.End), (tokens[^2], tokens[^1]));
    }

    [Fact]
    public void MaxLength_HoldsTheLongestCaption()
    {
        var longest = Enumerable.Range(0, 5000).Max(i => SceneSampler.Sample(1, (ulong)i).Caption.Split(' ').Length);
        Assert.InRange(longest + 2, 14, SceneVocabulary.MaxLength);
        var wordiest = SceneCaption.Parse("two small red circles left of two large blue squares on a plain background")!;
        Assert.InRange(SceneCaption.Write(wordiest).Split(' ').Length + 2, 16, SceneVocabulary.MaxLength);
    }

    [Fact]
    public void Write_LaysFilesOutAsClipTokenizersDo()
    {
        using var folder = new TempFolder();
        SceneVocabulary.Write(folder.At("tokenizer"));

        using var vocabulary = JsonDocument.Parse(File.ReadAllText(folder.At("tokenizer", "vocab.json")));
        Assert.Equal(SceneVocabulary.Tokens, vocabulary.RootElement.EnumerateObject().OrderBy(p => p.Value.GetInt32()).Select(p => p.Name));
        var merges = File.ReadAllLines(folder.At("tokenizer", "merges.txt"));
        Assert.Equal("#version: 0.2", merges[0]);
        Assert.Equal(SceneVocabulary.Merges, merges.Skip(1).Select(line => (line.Split(' ')[0], line.Split(' ')[1])));
        using var config = JsonDocument.Parse(File.ReadAllText(folder.At("tokenizer", "tokenizer_config.json")));
        Assert.Equal(SceneVocabulary.MaxLength, config.RootElement.GetProperty("model_max_length").GetInt32());
        Assert.Equal("CLIPTokenizer", config.RootElement.GetProperty("tokenizer_class").GetString());
        Assert.Equal("<|endoftext|>", config.RootElement.GetProperty("pad_token").GetString());
        using var specials = JsonDocument.Parse(File.ReadAllText(folder.At("tokenizer", "special_tokens_map.json")));
        Assert.Equal("<|startoftext|>", specials.RootElement.GetProperty("bos_token").GetProperty("content").GetString());
    }

    /// <summary>Byte-pair encoding as its definition says: always the earliest learned merge that applies.</summary>
    private static List<string> Encode(string word)
    {
        var merges = SceneVocabulary.Merges.ToList();
        var symbols = word.Select((c, i) => i == word.Length - 1 ? c + "</w>" : c.ToString()).ToList();
        while (true)
        {
            var ranks = symbols.Zip(symbols.Skip(1)).Select(pair => merges.IndexOf(pair)).Where(rank => rank >= 0).ToArray();
            if (ranks.Length == 0)
                return symbols;
            var (left, right) = merges[ranks.Min()];
            for (var i = 0; i + 1 < symbols.Count; i++)
                if (symbols[i] == left && symbols[i + 1] == right)
                {
                    symbols[i] = left + right;
                    symbols.RemoveAt(i + 1);
                }
        }
    }
}
