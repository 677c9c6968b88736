using Google.FlatBuffers;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// ONNX Runtime's adapter file (<c>.onnx_adapter</c>): LoRA tensors by the names of a model's parameters, which <c>OrtLoraAdapter</c>
/// loads. A FlatBuffer
/// with the identifier TORT: table Adapter { format_version, adapter_version, model_version: int32; parameters: [Parameter] }, table
/// Parameter
/// { name: string; dims: [int64]; data_type: int32; raw_data: [uint8], aligned }. Source: ONNX Runtime, lora/adapter_format.
/// </summary>
/// <param name="Parameters">Tensors by name, in the file's order.</param>
/// <param name="AdapterVersion">Version of the adapter, for its maker's use.</param>
/// <param name="ModelVersion">Version of the model it belongs to, for its maker's use.</param>
public sealed record OnnxAdapter(IReadOnlyList<(string Name, Tensor Data)> Parameters, int AdapterVersion = 1, int ModelVersion = 1)
{
    private const int FormatVersion = 1, ParametersField = 3;
    private const string Identifier = "TORT";
    private const string SuffixA = ".lora_A.weight", SuffixB = ".lora_B.weight";
    private static readonly FlatTensor Parameter = new(Name: 0, Dims: 1, Type: 2, Data: 3);

    /// <summary>
    /// Checks that every layer has both its halves, of one rank: ONNX Runtime would run a half adapter without a word, as the base model.
    /// </summary>
    /// <exception cref="UserError">A half is missing, ranks differ, or a name is there twice.</exception>
    public void Validate()
    {
        var tensors = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        foreach (var (name, data) in Parameters)
            if (!tensors.TryAdd(name, data)) throw new UserError($"adapter: tensor '{name}' is there twice");
        foreach (var (name, data) in Parameters)
        {
            var isA = name.EndsWith(SuffixA, StringComparison.Ordinal);
            if (!isA && !name.EndsWith(SuffixB, StringComparison.Ordinal)) continue;
            var partner = name[..^SuffixA.Length] + (isA ? SuffixB : SuffixA);
            if (!tensors.TryGetValue(partner,
                out var other)) throw new UserError($"adapter: '{name}' is there without '{partner}'; half an adapter has no effect");
            var (a, b) = isA ? (data, other) : (other, data);
            if (a.Dims.Length < 2 || b.Dims.Length < 2 || a.Dims[0] != b.Dims[1])
                throw new UserError($"adapter: '{name}' and '{partner}': expected [r,in,...] and [out,r,...], got {a} and {b}");
        }
    }

    /// <summary>The bytes of the file.</summary>
    /// <exception cref="UserError">The adapter is not whole (see <see cref="Validate"/>), or larger than 2 GB.</exception>
    public byte[] ToBytes()
    {
        Validate();
        var file = FlatTensor.Builder(Parameters, "adapter: larger than 2 GB; ONNX Runtime does not load that");
        var list = Parameter.Write(file, Parameters);
        file.StartTable(ParametersField + 1);
        file.AddOffset(ParametersField, list.Value, 0);
        file.AddInt(2, ModelVersion, 0);
        file.AddInt(1, AdapterVersion, 0);
        file.AddInt(0, FormatVersion, 0);
        file.Finish(file.EndTable(), Identifier);
        return file.SizedByteArray();
    }

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <exception cref="UserError">As <see cref="ToBytes"/>, or the place cannot be written.</exception>
    public void Write(string path) => AtomicFile.Write(path, ToBytes());

    /// <summary>Reads a file.</summary>
    /// <exception cref="UserError">It is missing, truncated, not an adapter, of an unknown version or not whole.</exception>
    public static OnnxAdapter Read(string path)
    {
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: 0 }) throw new UserError($"adapter '{path}': the file is empty");
            return Read(File.ReadAllBytes(path), path);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"adapter '{path}': cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Reads an adapter from bytes.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="name">What errors call it.</param>
    /// <exception cref="UserError">As for a file.</exception>
    public static OnnxAdapter Read(byte[] bytes, string name = "adapter")
    {
        var buffer = new ByteBuffer(bytes);
        if (bytes.Length < 8
            || !Table.__has_identifier(buffer, Identifier)) throw new UserError($"adapter '{name}': not an .onnx_adapter file");
        try
        {
            var root = new Table(buffer.GetInt(0), buffer);
            var version = FlatTensor.Number(root, 0);
            if (version != FormatVersion) throw new UserError($"adapter '{name}': expected format version {FormatVersion}, got {version}");
            var parameters = new List<(string, Tensor)>();
            long room = bytes.Length;
            foreach (var table in FlatTensor.Tables(root, ParametersField))
            {
                var (text, number, dims, data) = Parameter.Read(table, ref room);
                var type = (ElementType)number;
                if (!Enum.IsDefined(type) || type is ElementType.Undefined or ElementType.String) throw new UserError(
                    $"adapter '{name}': '{text}' has element type {number}; expected a number type");
                if (dims.Any(d => d < 0)) throw new UserError(
                    $"adapter '{name}': '{text}' has impossible sizes [{string.Join(",", dims)}]");
                parameters.Add((text, new Tensor(type, dims, data)));
            }
            var adapter = new OnnxAdapter(parameters, FlatTensor.Number(root, 1), FlatTensor.Number(root, 2));
            adapter.Validate();
            return adapter;
        }
        catch (Exception fault) when (fault is ArgumentException or OverflowException)
        {
            throw new UserError($"adapter '{name}': truncated or damaged", fault);
        }
    }
}
