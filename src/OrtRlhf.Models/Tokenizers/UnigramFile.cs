using System.Text.Json;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>What the tokenizer.json of a Unigram tokenizer says. A step that is not supported is an error that names it.</summary>
internal sealed record UnigramFile
{
    private const int MostTokens = 1 << 21;
    private const string Source = UnigramTokenizer.FileName;

    public required IReadOnlyList<(string Piece, double Score)> Pieces { get; init; }

    public int? Unknown { get; init; }

    public bool ByteFallback { get; init; }

    public required IReadOnlyList<AddedToken> Added { get; init; }

    /// <summary>Steps from text to normalised text.</summary>
    public required IReadOnlyList<Func<string, string>> Normalizers { get; init; }

    /// <summary>Steps from a text, which may be the beginning of all, to words.</summary>
    public required IReadOnlyList<Func<string, bool, IEnumerable<string>>> PreTokenizers { get; init; }

    /// <summary>Ids before each text.</summary>
    public IReadOnlyList<long> Before { get; init; } = [];

    /// <summary>Ids behind each text.</summary>
    public IReadOnlyList<long> Behind { get; init; } = [];

    public string Pad { get; init; } = "<pad>";

    public int MaxLength { get; init; } = 512;

    public static UnigramFile Open(string folder)
    {
        if (!File.Exists(Path.Combine(folder, Source)) && File.Exists(Path.Combine(folder, "spiece.model")))
            throw new UserError($"tokenizer '{folder}': spiece.model alone is not supported; expected {Source}, as save_pretrained of "
                + $"T5TokenizerFast writes it");
        var json = CheckpointFile.Json(Path.Combine(folder, Source), CheckpointFile.Read(folder, Source, CheckpointFile.LargeLimit));
        var model = Object(json, "model");
        if (Text(model, "type") is var type
            && type != "Unigram") throw new UserError($"{Source}: model type \"{Short(type ?? "")}\" is not supported; expected Unigram");
        var pieces = Vocabulary(model);
        var (before, behind) = Template(json);
        var file = new UnigramFile
        {
            Pieces = pieces,
            Unknown = model.TryGetProperty("unk_id", out var unknown) && unknown.ValueKind != JsonValueKind.Null
                ? (int?)Id(unknown, "unk_id", pieces.Length) : null,
            ByteFallback = Flag(model, "byte_fallback"),
            Added = AddedTokens(json),
            Normalizers = [.. UnigramSteps.Flat(json, "normalizer", "normalizers").Select(e => UnigramSteps.Normalizer(e))],
            PreTokenizers = [.. UnigramSteps.Flat(json, "pre_tokenizer", "pretokenizers").Select(e => UnigramSteps.PreTokenizer(e))],
            Before = before,
            Behind = behind,
        };
        return CheckpointFile.Find(folder, "tokenizer_config.json") is { } config
            ? file.With(ConfigReader.Parse(config, "tokenizer_config.json")) : file;
    }

    // Files without a limit say 10^30.
    private UnigramFile With(ConfigReader config) => this with
    {
        Pad = config.IsObject("pad_token") ? config.Child("pad_token").Text("content") ?? Pad : config.Text("pad_token") ?? Pad,
        MaxLength = config.Number("model_max_length", MaxLength) is >= 1 and <= 65536 and var length ? (int)length : MaxLength,
    };

    private static (string, double)[] Vocabulary(JsonElement model)
    {
        if (!model.TryGetProperty("vocab", out var vocabulary) || vocabulary.ValueKind != JsonValueKind.Array
            || vocabulary.GetArrayLength() is 0 or > MostTokens)
            throw new UserError($"{Source}: model.vocab: expected a list of 1 to {MostTokens} pieces with their scores");
        return [.. vocabulary.EnumerateArray().Select(e =>
            e.ValueKind == JsonValueKind.Array && e.GetArrayLength() == 2 && e[0].ValueKind == JsonValueKind.String
            && e[1].ValueKind == JsonValueKind.Number && e[1].TryGetDouble(out var score) && double.IsFinite(score)
            ? (e[0].GetString()!, score)
            : throw new UserError($"{Source}: model.vocab: expected a piece with its score, got {Short(e.GetRawText())}"))];
    }

    private static List<AddedToken> AddedTokens(JsonElement json)
    {
        var tokens = new List<AddedToken>();
        if (!json.TryGetProperty("added_tokens", out var list) || list.ValueKind == JsonValueKind.Null) return tokens;
        foreach (var e in Items(list, "added_tokens"))
        {
            if (Flag(e, "single_word")) throw new UserError($"{Source}: added_tokens: single_word = true is not supported; expected false");
            tokens.Add(new AddedToken(Text(e, "content") ?? "",
                Id(e.TryGetProperty("id", out var id) ? id : default, "added_tokens", int.MaxValue), Flag(e, "lstrip"), Flag(e, "rstrip")));
        }
        return tokens;
    }

    // What stands around one text: "single" of a TemplateProcessing.
    private static (List<long> Before, List<long> Behind) Template(JsonElement json)
    {
        List<long> before = [], behind = [];
        if (!json.TryGetProperty("post_processor", out var post) || post.ValueKind == JsonValueKind.Null) return (before, behind);
        if (Text(post, "type") is var type && type != "TemplateProcessing") throw new UserError(
            $"{Source}: post_processor \"{Short(type ?? "")}\" is not supported; expected TemplateProcessing or null");
        var specials = Object(post, "special_tokens");
        var seen = false;
        foreach (var e in Items(post.TryGetProperty("single", out var single) ? single : default, "post_processor.single"))
        {
            if (e.TryGetProperty("Sequence", out _)) seen = true;
            else foreach (var id in Items(Object(specials, Text(Object(e, "SpecialToken"), "id") ?? "").TryGetProperty("ids", out var ids)
                ? ids : default, "post_processor.special_tokens", JsonValueKind.Number))
                (seen ? behind : before).Add(Id(id, "post_processor.special_tokens", int.MaxValue));
        }
        return seen ? (before, behind)
            : throw new UserError($"{Source}: post_processor.single: expected the text (Sequence) among the tokens");
    }

    internal static string? Text(JsonElement e, string name) =>
        e.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    internal static bool Flag(JsonElement e, string name) => e.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    internal static string Short(string text) => (text.Length <= 60 ? text : text[..57] + "...").ReplaceLineEndings(" ");

    internal static IEnumerable<JsonElement> Items(JsonElement list, string name, JsonValueKind kind = JsonValueKind.Object) =>
        list.ValueKind == JsonValueKind.Array && list.EnumerateArray().All(e => e.ValueKind == kind) ? list.EnumerateArray()
            : throw new UserError($"{Source}: {name}: expected a list of {kind.ToString().ToLowerInvariant()}s");

    private static JsonElement Object(JsonElement e, string name) =>
        e.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Object ? value
            : throw new UserError($"{Source}: expected an object '{Short(name)}'");

    private static long Id(JsonElement e, string name, int limit) =>
        e.ValueKind == JsonValueKind.Number && e.TryGetInt64(out var id) && id >= 0 && id < limit ? id
            : throw new UserError($"{Source}: {name}: expected an id from 0 to {limit - 1}");
}
