using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace OrtRlhf.Graph.Files;

/// <summary>The JSON of a run's folder: camelCase, numbers in their shortest exact form, absent values left out of lines.</summary>
public static class JsonFile
{
    /// <summary>For files that people read: indented, absent values as null.</summary>
    public static JsonSerializerOptions Indented { get; } = Make(indented: true, JsonIgnoreCondition.Never);

    /// <summary>For lines: compact, absent values left out.</summary>
    public static JsonSerializerOptions Line { get; } = Make(indented: false, JsonIgnoreCondition.WhenWritingNull);

    /// <summary>Writes a value as an indented file, whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="value">What it holds.</param>
    /// <exception cref="UserError">As <see cref="AtomicFile.Write(string, Action{Stream})"/>.</exception>
    public static void Write<T>(string path, T value) => AtomicFile.Write(path, JsonSerializer.Serialize(value, Indented) + "\n");

    /// <summary>Reads a value.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="UserError">Missing, unreadable, or not the JSON expected.</exception>
    public static T Read<T>(string path)
    {
        var text = DiskFault.Guard(path, () => File.ReadAllBytes(path));
        try
        {
            return JsonSerializer.Deserialize<T>(text, Indented) ?? throw new UserError($"{path}: expected a JSON object, got null.");
        }
        catch (JsonException fault)
        {
            throw new UserError($"{path}: not the JSON expected: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
    }

    private static JsonSerializerOptions Make(bool indented, JsonIgnoreCondition ignore)
    {
        var options = new JsonSerializerOptions(JsonSerializerDefaults.Web)
        {
            WriteIndented = indented,
            NewLine = "\n",
            DefaultIgnoreCondition = ignore,
            NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
            // Prompts and expressions stay readable: no \u002B for a plus. Nothing here is put into HTML as it is.
            Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        };
        options.Converters.Add(new JsonStringEnumConverter(JsonNamingPolicy.CamelCase));
        return options;
    }
}
