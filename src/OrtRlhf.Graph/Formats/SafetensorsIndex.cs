using System.Text.Json;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Graph.Formats;

/// <summary>The index of a checkpoint that is split over several safetensors files (<c>weight_map</c>: tensor name to file name).</summary>
internal static class SafetensorsIndex
{
    public static SafetensorsFile Open(string path)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var size = new FileInfo(path).Length;
        if (size > SafetensorsHeader.Limit) throw new UserError(
            $"safetensors index '{path}': expected at most {SafetensorsHeader.Limit} bytes, got {size}");
        var places = Places(path);
        var files = new Dictionary<string, SafetensorsFile>(StringComparer.Ordinal);
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var (name, file) in places)
        {
            if (!files.TryGetValue(file, out var shard))
            {
                PlainFile.Check(folder, file, $"safetensors index '{path}'");
                files[file] = shard = SafetensorsFile.Open(Path.Combine(folder, file));
            }
            tensors[name] = shard.Tensors.TryGetValue(name, out var tensor)
                ? tensor
                : throw new UserError(
                    $"safetensors index '{path}': tensor '{SafetensorsHeader.Short(name)}' is not in '{file}' as it says");
        }
        return new SafetensorsFile(tensors, files.Values.FirstOrDefault()?.Metadata ?? new Dictionary<string, string>());
    }

    private static Dictionary<string, string> Places(string path)
    {
        try
        {
            using var stream = File.OpenRead(path);
            using var document = JsonDocument.Parse(stream, new JsonDocumentOptions { MaxDepth = 8 });
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("weight_map", out var map)
                || map.ValueKind != JsonValueKind.Object)
                throw new UserError($"safetensors index '{path}': expected an object with weight_map");
            var places = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var entry in map.EnumerateObject())
            {
                if (entry.Value.ValueKind != JsonValueKind.String || !places.TryAdd(entry.Name, entry.Value.GetString()!))
                    throw new UserError(
                        $"safetensors index '{path}': expected one file name for tensor '{SafetensorsHeader.Short(entry.Name)}'");
            }
            return places;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new UserError($"safetensors index '{path}': not valid JSON", e);
        }
    }
}
