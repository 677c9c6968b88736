using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace OrtRlhf.Scenes;

/// <summary>
/// The tokenizer of the shipped model, in CLIP's byte-pair format: 256 byte letters, the same with <c>&lt;/w&gt;</c>, one entry a
/// merge, then the two specials. The merges are learned from the grammar's own words until each word is one token, so that a
/// caption has one token a word; any other text still has a spelling in letters.
/// </summary>
public static class SceneVocabulary
{
    /// <summary>Length in tokens that captions are padded to, both specials included; the longest caption takes 18.</summary>
    public const int MaxLength = 24;

    /// <summary>The token that begins every caption.</summary>
    public const string Start = "<|startoftext|>";

    /// <summary>The token that ends every caption and pads it.</summary>
    public const string End = "<|endoftext|>";

    private const string WordEnd = "</w>";

    /// <summary>
    /// The merges in the order they apply. Learning takes the commonest pair first (ties in ordinal order), as byte-pair encoding
    /// does, which is what makes an encoder that replays the merges arrive at one token a word.
    /// </summary>
    public static IReadOnlyList<(string Left, string Right)> Merges { get; } = Learn(SceneCaption.Words);

    /// <summary>The tokens; a token's id is its index.</summary>
    public static IReadOnlyList<string> Tokens { get; } =
        [.. ByteLetters(), .. ByteLetters().Select(letter => letter + WordEnd), .. Merges.Select(m => m.Left + m.Right), Start, End];

    /// <summary>Writes vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json into a folder, made if missing.</summary>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    public static void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        var vocabulary = new JsonObject();
        for (var id = 0; id < Tokens.Count; id++)
            vocabulary[Tokens[id]] = id;
        WriteJson(folder, "vocab.json", vocabulary, indented: false);
        File.WriteAllText(Path.Combine(folder, "merges.txt"),
            string.Concat(Merges.Select(m => $"{m.Left} {m.Right}\n").Prepend("#version: 0.2\n")));
        WriteJson(folder, "special_tokens_map.json", new JsonObject
        {
            ["bos_token"] = Special(Start),
            ["eos_token"] = Special(End),
            ["pad_token"] = End,
            ["unk_token"] = Special(End),
        });
        WriteJson(folder, "tokenizer_config.json", new JsonObject
        {
            ["add_prefix_space"] = false,
            ["bos_token"] = Special(Start, typed: true),
            ["do_lower_case"] = true,
            ["eos_token"] = Special(End, typed: true),
            ["errors"] = "replace",
            ["model_max_length"] = MaxLength,
            ["pad_token"] = End,
            ["tokenizer_class"] = "CLIPTokenizer",
            ["unk_token"] = Special(End, typed: true),
        });
    }

    private static List<(string Left, string Right)> Learn(IEnumerable<string> words)
    {
        var spellings = words.Select(word => word.Select((c, i) => i == word.Length - 1 ? c + WordEnd : c.ToString()).ToList()).ToList();
        var merges = new List<(string Left, string Right)>();
        while (spellings.Any(spelling => spelling.Count > 1))
        {
            var best = spellings.SelectMany(s => s.Zip(s.Skip(1)))
                .GroupBy(pair => pair)
                .OrderByDescending(pairs => pairs.Count())
                .ThenBy(pairs => pairs.Key.First, StringComparer.Ordinal)
                .ThenBy(pairs => pairs.Key.Second, StringComparer.Ordinal)
                .First().Key;
            merges.Add(best);
            foreach (var spelling in spellings)
                for (var i = 0; i + 1 < spelling.Count; i++)
                    if ((spelling[i], spelling[i + 1]) == best)
                    {
                        spelling[i] += spelling[i + 1];
                        spelling.RemoveAt(i + 1);
                    }
        }
        return merges;
    }

    /// <summary>GPT-2's printable letter for each byte: the printable bytes stand for themselves, the others for U+0100 and up.</summary>
    private static IEnumerable<string> ByteLetters()
    {
        var printable = Enumerable.Range('!', '~' - '!' + 1).Concat(Enumerable.Range(0xA1, 12)).Concat(Enumerable.Range(0xAE, 82))
            .ToArray();
        return printable.Concat(Enumerable.Range(256, 256 - printable.Length)).Select(c => ((char)c).ToString());
    }

    private static JsonObject Special(string content, bool typed = false)
    {
        var token = new JsonObject();
        if (typed)
            token["__type"] = "AddedToken";
        token["content"] = content;
        token["lstrip"] = false;
        token["normalized"] = true;
        token["rstrip"] = false;
        token["single_word"] = false;
        return token;
    }

    private static void WriteJson(string folder, string name, JsonObject content, bool indented = true)
    {
        var options = new JsonSerializerOptions
        {
            WriteIndented = indented,
            NewLine = "\n",
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping
        };
        File.WriteAllText(Path.Combine(folder, name), content.ToJsonString(options) + "\n");
    }
}
