using System.Text.Json;
using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// Reads a config.json: a key that is missing or null takes the library's default; what is not supported is an error that names it.
/// </summary>
internal sealed class ConfigReader
{
    private const long Most = 1 << 24;
    private const int MostEntries = 64;

    // What training tools leave beside the architecture: the state of an exponential moving average.
    private static readonly string[] Harmless =
        ["dropout", "sample_size", "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup",
            "collected_params"];

    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private readonly JsonElement _root;
    private readonly string _model;

    private ConfigReader(JsonElement root, string model)
    {
        _root = root;
        _model = model;
    }

    /// <summary>Reads the text of a config.json for a model class.</summary>
    public static ConfigReader Parse(string json, string model) => new(CheckpointFile.Json(Source(model), json), model);

    /// <summary>A nested object, empty where it is missing.</summary>
    public ConfigReader Child(string name) => Find(name) switch
    {
        null => Parse("{}", _model),
        { ValueKind: JsonValueKind.Object } e => new ConfigReader(e, $"{_model}.{name}"),
        { } e => throw Fault(name, e, "an object"),
    };

    public long Integer(string name, long otherwise, long least = 1, long most = Most) => OptionalInteger(name, least, most) ?? otherwise;

    public long? OptionalInteger(string name, long least = 1, long most = Most) =>
        Find(name) is not { } e ? null : Integer(name, e, least, most);

    public double Number(string name, double otherwise) => Find(name) is not { } e ? otherwise
        : e.ValueKind == JsonValueKind.Number && e.TryGetDouble(out var number) && double.IsFinite(number) ? number
        : throw Fault(name, e, "a number");

    public bool Flag(string name, bool otherwise) => Find(name) is not { } e ? otherwise
        : e.ValueKind is JsonValueKind.True or JsonValueKind.False ? e.GetBoolean()
        : throw Fault(name, e, "true or false");

    public string? Text(string name) =>
        Find(name) is not { } e ? null : e.ValueKind == JsonValueKind.String ? e.GetString() : throw Fault(name, e, "a text");

    public string Choice(string name, string otherwise, params IEnumerable<string> choices)
    {
        var text = Text(name) ?? otherwise;
        return choices.Contains(text) ? text : throw Unsupported(name, $"\"{text}\"", string.Join(", ", choices));
    }

    public string Activation(string name, string otherwise) => Choice(name, otherwise, OrtRlhf.Models.Activation.Names);

    public string? OptionalActivation(string name) => Text(name) is null ? null : Activation(name, "");

    /// <summary>A list of whole numbers.</summary>
    public long[] Integers(string name, params long[] otherwise) => Find(name) is not { } e ? otherwise
        : e.ValueKind == JsonValueKind.Array && e.GetArrayLength() is > 0 and <= MostEntries
            ? [.. e.EnumerateArray().Select(i => Integer(name, i, 0))]
        : throw Fault(name, e, $"a list of 1 to {MostEntries} whole numbers");

    /// <summary>A list of whole numbers below a limit, which may be empty or missing.</summary>
    public long[] Indices(string name, long limit) => Find(name) is not { } e ? []
        : e.ValueKind == JsonValueKind.Array && e.GetArrayLength() <= limit
            ? [.. e.EnumerateArray().Select(i => Integer(name, i, 0, limit - 1))]
        : throw Fault(name, e, $"a list of at most {limit} whole numbers");

    /// <summary>A list of that many numbers.</summary>
    public IReadOnlyList<double> Numbers(string name, IReadOnlyList<double> otherwise, int count) => Find(name) is not { } e ? otherwise
        : e.ValueKind == JsonValueKind.Array && e.GetArrayLength() == count
            && e.EnumerateArray().All(n => n.ValueKind == JsonValueKind.Number && double.IsFinite(n.GetDouble()))
            ? [.. e.EnumerateArray().Select(n => n.GetDouble())]
            : throw Fault(name, e, $"a list of {count} numbers");

    /// <summary>Whether a key holds an object.</summary>
    public bool IsObject(string name) => Find(name) is { ValueKind: JsonValueKind.Object };

    /// <summary>A list of texts out of some.</summary>
    public string[] Choices(string name, string[] otherwise, params string[] choices)
    {
        if (Find(name) is not { } e) return otherwise;
        if (e.ValueKind != JsonValueKind.Array || e.GetArrayLength() is 0 or > MostEntries) throw Fault(name, e,
            $"a list of 1 to {MostEntries} texts");
        return [.. e.EnumerateArray().Select(i => i.ValueKind == JsonValueKind.String && choices.Contains(i.GetString())
            ? i.GetString()!
            : throw Unsupported(name, i.GetRawText(), string.Join(", ", choices)))];
    }

    /// <summary>One whole number for all blocks, or one for each.</summary>
    public long[] PerBlock(string name, long otherwise, int blocks, long most = Most) =>
        Find(name) is { ValueKind: JsonValueKind.Array } list
        ? Sized(name, [.. list.EnumerateArray().Take(blocks + 1).Select(e => Integer(name, e, 1, most))], blocks)
        : [.. Enumerable.Repeat(Integer(name, otherwise, 1, most), blocks)];

    /// <summary>One truth value for all blocks, or one for each.</summary>
    public bool[] FlagPerBlock(string name, bool otherwise, int blocks) => Find(name) is { ValueKind: JsonValueKind.Array } list
        ? Sized(name, [.. list.EnumerateArray().Select(e =>
            e.ValueKind is JsonValueKind.True or JsonValueKind.False ? e.GetBoolean() : throw Fault(name, e, "true or false"))], blocks)
        : [.. Enumerable.Repeat(Flag(name, otherwise), blocks)];

    /// <summary>Whole numbers for each layer of each block: one for all, one a block, or a list a block.</summary>
    public long[][] PerLayer(string name, long otherwise, IReadOnlyList<long> layers)
    {
        if (Find(name) is not { ValueKind: JsonValueKind.Array } list)
        {
            var all = Integer(name, otherwise);
            return [.. layers.Select(n => Enumerable.Repeat(all, (int)n).ToArray())];
        }
        var blocks = Sized(name, list.EnumerateArray().ToArray(), layers.Count);
        return [.. blocks.Select((e, i) => e.ValueKind == JsonValueKind.Array
            ? Sized(name, [.. e.EnumerateArray().Select(n => Integer(name, n, 1))], (int)layers[i])
            : Enumerable.Repeat(Integer(name, e, 1), (int)layers[i]).ToArray())];
    }

    /// <summary>
    /// A size that may be given as one number or as height and width: the first (0) or the last (1); 0 where it is missing.
    /// </summary>
    public long Size(string name, int axis = 0) => Find(name) is not { ValueKind: JsonValueKind.Array } ? Integer(name, 0, 0)
        : Integers(name) is { Length: 1 or 2 } sizes ? sizes[Math.Min(axis, sizes.Length - 1)]
        : throw Fault(name, Find(name)!.Value, "a size, or height and width");

    /// <summary>Whether a key is there with the value null, which for some keys differs from being left out.</summary>
    public bool IsNull(string name) => Look(name) is { ValueKind: JsonValueKind.Null };

    /// <summary>Whether a key is there and not null.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>Whether a key holds a list of lists.</summary>
    public bool IsNested(string name) =>
        Find(name) is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().Any(e => e.ValueKind == JsonValueKind.Array);

    /// <summary>Demands that an option we do not build has the value (as JSON) that switches it off, or is missing or null.</summary>
    public void Only(string name, params string[] values)
    {
        if (Find(name) is not { } e) return;
        var text = e.ValueKind == JsonValueKind.Number ? e.GetDouble().ToString("R") : e.GetRawText();
        if (!values.Contains(text)) throw Unsupported(name, e.GetRawText(), values.Length == 0 ? "null" : string.Join(", ", values));
    }

    /// <summary>Demands that two lists have an entry a block.</summary>
    public void SameCount(string name, int count, int blocks)
    {
        if (count != blocks) throw new UserError($"{Source(_model)}: {name} has {count} entries, expected {blocks}, one for each block");
    }

    /// <summary>
    /// Demands that every key has been asked for, is null or false, or does not change what the model computes: an option of a newer
    /// library must not be
    /// passed over in silence.
    /// </summary>
    /// <param name="harmless">Keys that do not change it, beside those of every model.</param>
    public void NothingElse(params string[] harmless)
    {
        foreach (var entry in _root.EnumerateObject())
        {
            if (entry.Name.StartsWith('_') || entry.Value.ValueKind is JsonValueKind.Null or JsonValueKind.False
                || _asked.Contains(entry.Name) || Harmless.Contains(entry.Name) || harmless.Contains(entry.Name)) continue;
            throw new UserError($"{Source(_model)}: {Short(entry.Name)} = {Short(entry.Value.GetRawText())} is not known here; take it "
                + $"out if the model computes the same without it");
        }
    }

    /// <summary>An error about an option that is not built.</summary>
    public UserError Unsupported(string name, string value, string expected) =>
        new($"{Source(_model)}: {name} = {Short(value)} is not supported; expected {expected}");

    private long Integer(string name, JsonElement e, long least, long most = Most) =>
        e.ValueKind == JsonValueKind.Number && e.TryGetInt64(out var number) && number >= least && number <= most
            ? number
            : throw new UserError($"{Source(_model)}: {name}: expected a whole number from {least} to {most}, got {Short(e.GetRawText())}");

    private T[] Sized<T>(string name, T[] list, int count)
    {
        SameCount(name, list.Length, count);
        return list;
    }

    private JsonElement? Find(string name) => Look(name) is { ValueKind: not JsonValueKind.Null } e ? e : null;

    private JsonElement? Look(string name)
    {
        _asked.Add(name);
        return _root.TryGetProperty(name, out var e) ? e : null;
    }

    // The model's class, or the name of another file.
    private static string Source(string model) => model.Contains(".json", StringComparison.Ordinal) ? model : $"config.json of {model}";

    private UserError Fault(string name, JsonElement e, string expected) =>
        new($"{Source(_model)}: {name}: expected {expected}, got {Short(e.GetRawText())}");

    private static string Short(string text) =>
        text.Length <= 80 ? text.ReplaceLineEndings(" ") : text[..77].ReplaceLineEndings(" ") + "...";
}
