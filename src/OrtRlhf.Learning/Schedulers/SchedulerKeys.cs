using System.Text.Json;
using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>The keys of a scheduler_config.json; a wrong type is an error that names the file and the key.</summary>
internal readonly record struct SchedulerKeys(JsonElement Root, string Source)
{
    /// <summary>The text of a config file.</summary>
    /// <exception cref="UserError">The file cannot be read.</exception>
    public static string Text(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"{path}: expected a readable scheduler_config.json, got: {e.Message}", e);
        }
    }

    /// <summary>Parses a config's text and reads its keys.</summary>
    /// <exception cref="UserError">Not a JSON object.</exception>
    public static T Parse<T>(string json, string source, Func<SchedulerKeys, T> read)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? read(new(document.RootElement, source))
                : throw new UserError($"{source}: expected a JSON object, got {document.RootElement.ValueKind}");
        }
        catch (JsonException e)
        {
            throw new UserError($"{source}: expected JSON, got: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }

    public string Text(string key, string missing) =>
        Find(key) is not { } e ? missing : e.ValueKind == JsonValueKind.String ? e.GetString()! : throw Wrong(key, "a string", e);

    public bool Flag(string key, bool missing) =>
        Find(key) is not { } e ? missing
        : e.ValueKind is JsonValueKind.True or JsonValueKind.False ? e.GetBoolean() : throw Wrong(key, "true or false", e);

    public double Number(string key, double missing) =>
        Find(key) is not { } e ? missing
        : e.ValueKind == JsonValueKind.Number && e.TryGetDouble(out var number) ? number : throw Wrong(key, "a number", e);

    public int Integer(string key, int missing) =>
        Find(key) is not { } e ? missing
        : e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out var number) ? number : throw Wrong(key, "an integer", e);

    public bool Has(string key) => Find(key) is not null;

    public IReadOnlyList<double>? Numbers(string key)
    {
        if (Find(key) is not { } e)
            return null;
        if (e.ValueKind != JsonValueKind.Array || e.EnumerateArray().Any(item => item.ValueKind != JsonValueKind.Number))
            throw Wrong(key, "an array of numbers", e);
        return [.. e.EnumerateArray().Select(item => item.GetDouble())];
    }

    public T Choice<T>(string key, T missing, params ReadOnlySpan<(string Name, T Value)> choices)
    {
        if (Find(key) is not { } e)
            return missing;
        var names = new List<string>();
        foreach (var (name, value) in choices)
        {
            if (e.ValueKind == JsonValueKind.String && e.ValueEquals(name))
                return value;
            names.Add(name);
        }
        throw Wrong(key, string.Join(" or ", names), e);
    }

    // A null value means the default, as in diffusers.
    private JsonElement? Find(string key) =>
        Root.TryGetProperty(key, out var e) && e.ValueKind != JsonValueKind.Null ? e : null;

    private UserError Wrong(string key, string expected, JsonElement got)
    {
        var text = got.GetRawText().ReplaceLineEndings(" ");
        return new UserError($"{Source}: {key}: expected {expected}, got {(text.Length > 60 ? text[..60] + "..." : text)}");
    }
}
