using System.Text;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Models;

/// <summary>
/// Text files of a checkpoint. They may come from anywhere: size and depth are limited, and links out of the folder are refused.
/// </summary>
internal static class CheckpointFile
{
    /// <summary>Largest config.json and the like, in bytes.</summary>
    public const long SmallLimit = 1 << 20;

    /// <summary>Largest vocabulary or list of merges, in bytes; CLIP's have 1.1 and 0.5 million.</summary>
    public const long LargeLimit = 16 << 20;

    /// <summary>The text of a file, or null where there is none.</summary>
    public static string? Find(string folder, string name, long limit = SmallLimit) =>
        File.Exists(Path.Combine(folder, name)) ? Read(folder, name, limit) : null;

    /// <summary>The text of a file that must be there.</summary>
    public static string Read(string folder, string name, long limit = SmallLimit)
    {
        var path = Path.Combine(folder, name);
        if (!Directory.Exists(folder)) throw new UserError($"checkpoint: no folder '{folder}'");
        Check(folder, name, limit);
        try
        {
            using var stream = File.OpenRead(path);
            var bytes = new byte[Math.Min(stream.Length, limit)];
            stream.ReadExactly(bytes);
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException e)
        {
            throw new UserError($"checkpoint: '{path}' is not UTF-8 text", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"checkpoint: '{path}' cannot be read ({e.Message.ReplaceLineEndings(" ")})", e);
        }
    }

    /// <summary>Refuses a file that is not there, is a link out of its folder, or is larger than one of its kind can be.</summary>
    public static void Check(string folder, string name, long limit)
    {
        var path = Path.Combine(folder, name);
        if (!File.Exists(path)) throw new UserError($"checkpoint: no file '{name}' in '{folder}'");
        PlainFile.CheckLink(path, folder, $"checkpoint '{folder}'");
        var file = new FileInfo(path);
        var length = (file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file).Length;
        // A pipe or a device has no length, and to open it may take forever.
        if (length == 0) throw new UserError($"checkpoint: '{path}' is empty; fetch the file again");
        if (length > limit) throw new UserError(
            $"checkpoint: '{path}' has {length} bytes, expected at most {limit}; it is not a file of this kind");
    }

    /// <summary>A JSON object.</summary>
    public static JsonElement Json(string path, string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 32 });
            CheckTexts(document.RootElement);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new UserError($"checkpoint: '{path}': expected a JSON object, got {document.RootElement.ValueKind}");
        }
        catch (JsonException e)
        {
            throw new UserError($"checkpoint: '{path}' is not valid JSON at line {e.LineNumber + 1}; fetch the file again", e);
        }
        catch (InvalidOperationException e)
        {
            throw new UserError($"checkpoint: '{path}' has a text with half a character; fetch the file again", e);
        }
    }

    // Escapes are only looked at when a text is asked for: half a surrogate pair must not surprise those who ask.
    private static void CheckTexts(JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.String) element.GetString();
        else if (element.ValueKind == JsonValueKind.Array) foreach (var item in element.EnumerateArray()) CheckTexts(item);
        else if (element.ValueKind == JsonValueKind.Object)
        {
            foreach (var entry in element.EnumerateObject())
            {
                _ = entry.Name;
                CheckTexts(entry.Value);
            }
        }
    }
}
