using System.Buffers.Binary;
using System.Text;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// ONNX Runtime's adapter file (<c>.onnx_adapter</c>): LoRA tensors by the names of a model's parameters, which <c>OrtLoraAdapter</c> loads. A FlatBuffer
/// with the identifier TORT: table Adapter { format_version, adapter_version, model_version: int32; parameters: [Parameter] }, table Parameter
/// { name: string; dims: [int64]; data_type: int32; raw_data: [uint8], aligned }. Source: ONNX Runtime, lora/adapter_format.
/// </summary>
/// <param name="Parameters">Tensors by name, in the file's order.</param>
/// <param name="AdapterVersion">Version of the adapter, for its maker's use.</param>
/// <param name="ModelVersion">Version of the model it belongs to, for its maker's use.</param>
public sealed record OnnxAdapter(IReadOnlyList<(string Name, Tensor Data)> Parameters, int AdapterVersion = 1, int ModelVersion = 1)
{
    private const int FormatVersion = 1, RootTable = 16, Align = 64;
    private const string SuffixA = ".lora_A.weight", SuffixB = ".lora_B.weight";
    private static readonly byte[] Identifier = "TORT"u8.ToArray();

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
            if (!tensors.TryGetValue(partner, out var other)) throw new UserError($"adapter: '{name}' is there without '{partner}'; half an adapter has no effect");
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
        if (Parameters.Sum(p => p.Data.ByteLength + 1024) > int.MaxValue) throw new UserError("adapter: larger than 2 GB; ONNX Runtime does not load that");
        var file = new FlatBuffer();
        var root = file.Reserve();
        file.Bytes(Identifier);
        var adapterFields = file.VirtualTable(4, 8, 12, 16);
        var parameterFields = file.VirtualTable(4, 8, 12, 16);
        file.Aim(root);
        file.Table(adapterFields);
        foreach (var number in (int[])[FormatVersion, AdapterVersion, ModelVersion]) file.Number(number);
        var list = file.Reserve();
        file.Aim(list);
        file.Number(Parameters.Count);
        var tables = Parameters.Select(_ => file.Reserve()).ToArray();
        foreach (var ((name, data), table) in Parameters.Zip(tables))
        {
            file.Aim(table);
            file.Table(parameterFields);
            var (nameAt, dimsAt) = (file.Reserve(), file.Reserve());
            file.Number((int)data.Type);
            var dataAt = file.Reserve();
            file.Aim(nameAt);
            var text = Encoding.UTF8.GetBytes(name);
            file.Number(text.Length);
            file.Bytes([.. text, 0]);
            file.AimVector(dimsAt, data.Dims.Length, sizeof(long));
            foreach (var dim in data.Dims) file.Bytes(BitConverter.GetBytes(dim));
            file.AimVector(dataAt, checked((int)data.ByteLength), Align);
            file.Bytes(data.Bytes());
        }
        return file.ToArray();
    }

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <exception cref="UserError">As <see cref="ToBytes"/>, or the place cannot be written.</exception>
    public void Write(string path)
    {
        var part = path + ".part";
        try
        {
            File.WriteAllBytes(part, ToBytes());
            File.Move(part, path, overwrite: true);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"adapter '{path}': cannot be written: {fault.Message}", fault);
        }
        finally
        {
            if (File.Exists(part)) File.Delete(part);
        }
    }

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
        if (bytes.Length < RootTable || !bytes.AsSpan(4, 4).SequenceEqual(Identifier)) throw new UserError($"adapter '{name}': not an .onnx_adapter file");
        try
        {
            var root = new FlatTable(bytes, (int)BinaryPrimitives.ReadUInt32LittleEndian(bytes));
            if (root.Number(0) != FormatVersion) throw new UserError($"adapter '{name}': expected format version {FormatVersion}, got {root.Number(0)}");
            var parameters = new List<(string, Tensor)>();
            long taken = 0;
            foreach (var table in root.Tables(3))
            {
                // Parts of a damaged file may be told many times over: together they must not be larger than it.
                taken += table.Vector(0, 1).Length + table.Vector(1, sizeof(long)).Length + table.Vector(3, 1).Length;
                if (taken > bytes.Length) throw new UserError($"adapter '{name}': truncated or damaged");
                var text = Encoding.UTF8.GetString(table.Vector(0, 1));
                var type = (ElementType)table.Number(2);
                if (!Enum.IsDefined(type) || type is ElementType.Undefined or ElementType.String) throw new UserError($"adapter '{name}': '{text}' has element type {(int)type}; expected a number type");
                var dims = table.Vector(1, sizeof(long)).ToArray().Chunk(sizeof(long)).Select(c => BitConverter.ToInt64(c)).ToArray();
                if (dims.Any(d => d < 0)) throw new UserError($"adapter '{name}': '{text}' has impossible sizes [{string.Join(",", dims)}]");
                parameters.Add((text, new Tensor(type, dims, table.Vector(3, 1).ToArray())));
            }
            var adapter = new OnnxAdapter(parameters, root.Number(1), root.Number(2));
            adapter.Validate();
            return adapter;
        }
        catch (Exception fault) when (fault is ArgumentException or OverflowException)
        {
            throw new UserError($"adapter '{name}': truncated or damaged", fault);
        }
    }
}
