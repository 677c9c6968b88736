using System.Text.Json;

namespace OrtRlhf.Graph.Tests;

/// <summary>Reference data in tests/Golden.</summary>
internal static class Golden
{
    public static string Root { get; } = Path.Combine(Repository(), "tests", "Golden");

    public static string At(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>All tensors of a safetensors file; read here by hand, so that these tests stand on no other code of ours.</summary>
    public static Dictionary<string, Tensor> Tensors(params string[] parts)
    {
        var bytes = File.ReadAllBytes(At(parts));
        var start = 8 + (int)BitConverter.ToInt64(bytes);
        using var header = JsonDocument.Parse(bytes.AsMemory(8, start - 8));
        var result = new Dictionary<string, Tensor>();
        foreach (var entry in header.RootElement.EnumerateObject())
        {
            if (entry.Name == "__metadata__") continue;
            var type = entry.Value.GetProperty("dtype").GetString() switch
            {
                "F32" => ElementType.Float,
                "F16" =>
                ElementType.Float16,
                "I64" => ElementType.Int64,
                var other => throw new InvalidDataException(other)
            };
            var place = entry.Value.GetProperty("data_offsets");
            result[entry.Name] = new Tensor(type, [.. entry.Value.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())],
                bytes[(start + place[0].GetInt32())..(start + place[1].GetInt32())]);
        }
        return result;
    }

    private static string Repository()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "OrtRlhf.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException("OrtRlhf.sln");
    }
}
