using System.Text;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Models;

/// <summary>Text files of a checkpoint. They may come from anywhere: size and depth are limited, and links out of the folder are refused.</summary>
internal static class CheckpointFile
{
    /// <summary>Largest config.json and the like, in bytes.</summary>
    public const long SmallLimit = 1 << 20;

    /// <summary>Largest vocabulary or list of merges, in bytes; CLIP's have 1.1 and 0.5 million.</summary>
    public const long LargeLimit = 16 << 20;

    /// <summary>The text of a file, or null where there is none.</summary>
    public static string? Find(string folder, string name, long limit = SmallLimit) => File.Exists(Path.Combine(folder, name)) ? Read(folder, name, limit) : null;

    /// <summary>The text of a file that must be there.</summary>
    public static string Read(string folder, string name, long limit = SmallLimit)
    {
        var path = Path.Combine(folder, name);
        if (!Directory.Exists(folder)) throw new UserError($"checkpoint: no folder '{folder}'");
        if (!File.Exists(path)) throw new UserError($"checkpoint: no file '{name}' in '{folder}'");
        PlainFile.CheckLink(path, folder, $"checkpoint '{folder}'");
        try
        {
            using var stream = File.OpenRead(path);
            if (stream.Length > limit) throw new UserError($"checkpoint: '{path}' has {stream.Length} bytes, expected at most {limit}; it is not a file of this kind");
            var bytes = new byte[stream.Length];
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

    /// <summary>A JSON object.</summary>
    public static JsonElement Json(string path, string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 32 });
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new UserError($"checkpoint: '{path}': expected a JSON object, got {document.RootElement.ValueKind}");
        }
        catch (JsonException e)
        {
            throw new UserError($"checkpoint: '{path}' is not valid JSON at line {e.LineNumber + 1}; fetch the file again", e);
        }
    }
}
