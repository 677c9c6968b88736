using System.Text.Json;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// The header of a safetensors file: JSON that gives each tensor's type, shape and place. It may come from anywhere, so that nothing in it
/// is believed:
/// its size and depth are limited, and every tensor must lie inside the file and apart from the others.
/// </summary>
internal static class SafetensorsHeader
{
    /// <summary>Largest header that is read, in bytes; that of a model of 10,000 tensors has about one million.</summary>
    public const long Limit = 32 << 20;

    private const int Depth = 8;

    private static readonly Dictionary<string, ElementType> Types = new(StringComparer.Ordinal)
    {
        ["F32"] = ElementType.Float,
        ["F16"] = ElementType.Float16,
        ["BF16"] = ElementType.BFloat16,
        ["F64"] = ElementType.Double,
        ["I64"] = ElementType.Int64,
        ["I32"] = ElementType.Int32,
        ["I16"] = ElementType.Int16,
        ["I8"] = ElementType.Int8,
        ["U64"] = ElementType.UInt64,
        ["U32"] = ElementType.UInt32,
        ["U16"] = ElementType.UInt16,
        ["U8"] = ElementType.UInt8,
        ["BOOL"] = ElementType.Bool,
    };

    /// <summary>Type, shape and place (bytes behind the header) of a tensor.</summary>
    public sealed record Entry(ElementType Type, long[] Dims, long Begin, long End);

    /// <summary>Reads a header that is followed by <paramref name="available"/> bytes.</summary>
    public static (Dictionary<string, Entry> Entries, Dictionary<string, string> Metadata) Parse(string path, byte[] json, long available)
    {
        var entries = new Dictionary<string, Entry>(StringComparer.Ordinal);
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal);
        try
        {
            var reader = new Utf8JsonReader(json.AsSpan().TrimEnd((byte)' '), new JsonReaderOptions { MaxDepth = Depth });
            Expect(path, ref reader, JsonTokenType.StartObject);
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                Expect(path, ref reader, JsonTokenType.StartObject);
                if (name == "__metadata__")
                {
                    while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                    {
                        var key = reader.GetString()!;
                        Expect(path, ref reader, JsonTokenType.String);
                        metadata[key] = reader.GetString()!;
                    }
                }
                else if (!entries.TryAdd(name, Tensor(path, name, ref reader, available)))
                {
                    throw new UserError($"safetensors '{path}': two tensors are named '{Short(name)}'");
                }
            }
            while (reader.Read()) { }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new UserError($"safetensors '{path}': the header is not valid JSON of tensors "
                + $"({(e as JsonException is { } j ? $"at byte {j.BytePositionInLine}" : "text that is not UTF-8")})", e);
        }
        CheckApart(path, entries);
        return (entries, metadata);
    }

    /// <summary>The bytes of a header, filled up with spaces so that tensors start at a multiple of 8.</summary>
    public static byte[] Write(string path, IReadOnlyList<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata)
    {
        using var stream = new MemoryStream();
        using (var writer = new Utf8JsonWriter(stream))
        {
            writer.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                writer.WriteStartObject("__metadata__");
                foreach (var (key, value) in metadata) writer.WriteString(key, value);
                writer.WriteEndObject();
            }
            long offset = 0;
            foreach (var (name, tensor) in tensors)
            {
                var type = Types.FirstOrDefault(t => t.Value == tensor.Type).Key
                    ?? throw new UserError($"safetensors '{path}': tensor '{name}' of type {tensor.Type} has no name in this format");
                writer.WriteStartObject(name);
                writer.WriteString("dtype", type);
                writer.WriteStartArray("shape");
                foreach (var dim in tensor.Dims) writer.WriteNumberValue(dim);
                writer.WriteEndArray();
                writer.WriteStartArray("data_offsets");
                writer.WriteNumberValue(offset);
                writer.WriteNumberValue(offset += tensor.ByteLength);
                writer.WriteEndArray();
                writer.WriteEndObject();
            }
            writer.WriteEndObject();
        }
        while (stream.Length % 8 != 0) stream.WriteByte((byte)' ');
        return stream.ToArray();
    }

    private static Entry Tensor(string path, string name, ref Utf8JsonReader reader, long available)
    {
        string? dtype = null;
        long[]? shape = null, offsets = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            switch (reader.GetString())
            {
                case "dtype":
                    Expect(path, ref reader, JsonTokenType.String);
                    dtype = reader.GetString();
                    break;
                case "shape": shape = Numbers(path, name, ref reader); break;
                case "data_offsets": offsets = Numbers(path, name, ref reader); break;
                default: reader.Skip(); break;
            }
        }
        if (dtype is null || shape is null || offsets is not [var begin, var end]) throw Fault(path, name,
            "dtype, shape and two data_offsets", "an entry without them");
        if (!Types.TryGetValue(dtype, out var type)) throw Fault(path, name, $"dtype {string.Join(", ", Types.Keys)}", Short(dtype));
        if (begin > end || end > available) throw Fault(path, name, $"a place within the {available} bytes of data",
            $"{begin} to {end}; the file is truncated or not valid");
        long bytes = type.SizeOf();
        foreach (var dim in shape.Order())
        {
            // The smallest first, so that a zero makes the tensor empty; a product beyond the file is refused before it can overflow.
            if (dim > 0 && bytes > available / dim) throw Fault(path, name, $"{end - begin} bytes",
                $"shape [{string.Join(",", shape)}] of {dtype}");
            bytes *= dim;
        }
        if (bytes == 0 && shape.Any(d => d > int.MaxValue)) throw Fault(path, name, "sizes of a tensor that can be",
            $"shape [{string.Join(",", shape)}]");
        if (bytes != end - begin) throw Fault(path, name, $"{bytes} bytes for shape [{string.Join(",", shape)}] of {dtype}",
            $"{end - begin}");
        return new Entry(type, shape, begin, end);
    }

    private static long[] Numbers(string path, string name, ref Utf8JsonReader reader)
    {
        Expect(path, ref reader, JsonTokenType.StartArray);
        var numbers = new List<long>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out var number) || number < 0 || numbers.Count == 16)
                throw Fault(path, name, "at most 16 whole numbers that are not negative", "something else");
            numbers.Add(number);
        }
        return [.. numbers];
    }

    private static void CheckApart(string path, Dictionary<string, Entry> entries)
    {
        KeyValuePair<string, Entry>? last = null;
        foreach (var entry in entries.Where(e => e.Value.End > e.Value.Begin).OrderBy(e => e.Value.Begin))
        {
            if (last is { } l && entry.Value.Begin < l.Value.End) throw new UserError(
                $"safetensors '{path}': tensors '{Short(l.Key)}' and '{Short(entry.Key)}' overlap");
            last = entry;
        }
    }

    private static void Expect(string path, ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type) throw new UserError($"safetensors '{path}': the header is not a list of tensors; "
            + $"expected {type} at byte {reader.TokenStartIndex}, got {reader.TokenType}");
    }

    private static UserError Fault(string path, string name, string expected, string got) =>
        new($"safetensors '{path}': tensor '{Short(name)}': expected {expected}, got {got}");

    /// <summary>A name from the file, fit for one line.</summary>
    public static string Short(string text) =>
        new([.. (text.Length <= 100 ? text : text[..97] + "...").Select(c => char.IsControl(c) ? ' ' : c)]);
}
