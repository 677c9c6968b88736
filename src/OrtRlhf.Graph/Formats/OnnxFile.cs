using Google.Protobuf;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats.Onnx;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// ONNX models as files and bytes. Weights beside the file (external data) stay there until they are asked for, so that a model larger than
/// memory can be edited and written. Source: the ONNX specification, IR version 10.
/// </summary>
public static class OnnxFile
{
    private const long LargestMessage = 2_000_000_000, LargestInside = 1_000_000_000;
    private const int OutsideFrom = 1024;
    private const long Page = 4096, LargePage = 65536, LargeTensor = 1 << 20;

    /// <summary>Reads a model file, its shapes inferred.</summary>
    /// <param name="path">The file; external data lies in its folder.</param>
    /// <exception cref="UserError">
    /// The file is missing, truncated or no ONNX model, uses features we do not know, or names external data outside its folder or past a
    /// file's end.
    /// </exception>
    public static OnnxGraph Read(string path)
    {
        var info = new FileInfo(path);
        if (!info.Exists) throw new UserError($"model '{path}': no such file");
        if (info.Length == 0) throw new UserError($"model '{path}': the file is empty");
        if (info.Length > LargestMessage) throw new UserError(
            $"model '{path}': {info.Length / 1e9:F1} GB; expected less than 2 GB with the weights in a file beside it");
        try
        {
            return Read(File.ReadAllBytes(path), path, info.DirectoryName);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"model '{path}': cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Reads a model from bytes.</summary>
    /// <param name="bytes">The whole model.</param>
    /// <param name="name">What errors call it.</param>
    /// <param name="folder">Folder of external data; null where there must be none.</param>
    /// <exception cref="UserError">As for a file.</exception>
    public static OnnxGraph Read(byte[] bytes, string name = "model", string? folder = null)
    {
        ModelProto model;
        try
        {
            model = ModelProto.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException fault)
        {
            throw new UserError($"model '{name}': not a whole ONNX file: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
        return OnnxDecoder.Decode(model, name, folder is null ? null : new ExternalFiles(folder));
    }

    /// <summary>The bytes of a model, its constants inside; composites are lowered first.</summary>
    /// <exception cref="UserError">The model is larger than 2 GB.</exception>
    public static byte[] ToBytes(OnnxGraph graph)
    {
        LowerComposites.Apply(graph);
        Fit(graph);
        return OnnxEncoder.Encode(graph, (_, data) => UnsafeByteOperations.UnsafeWrap(data.Bytes())).ToByteArray();
    }

    /// <summary>
    /// Writes a model file, and beside it <c>NAME.data</c> with the weights where these are asked to be outside. Weights are streamed one
    /// by one, and
    /// files already there are replaced when the new ones are whole. Composites are lowered first.
    /// </summary>
    /// <param name="graph">The model.</param>
    /// <param name="path">The file to write; its folder is made if need be.</param>
    /// <param name="externalData">Whether tensors above 1 KiB go outside; null: only those of a model above 1 GB, whose loading would need
    /// twice that much otherwise.</param>
    /// <param name="written">Is told the bytes of each weight that has been written; null for nobody.</param>
    /// <exception cref="UserError">The disk is full, the place cannot be written, or more than 2 GB should go inside.</exception>
    public static void Write(OnnxGraph graph, string path, bool? externalData = null, Action<long>? written = null)
    {
        LowerComposites.Apply(graph);
        var full = Path.GetFullPath(path);
        var dataPath = full + ".data";
        var outside = externalData ?? WeightBytes(graph) > LargestInside;
        if (!outside) Fit(graph);
        // The data is in its place before the model that points to it.
        AtomicFile.Write(full, file =>
        {
            if (outside) AtomicFile.Write(dataPath, data => OnnxEncoder.Encode(graph, (proto, tensor) =>
                StoreOutside(data, Path.GetFileName(dataPath), proto, tensor, written)).WriteTo(file));
            else OnnxStream.Write(graph, file, OutsideFrom, written);
        });
    }

    // Offsets on pages let runtimes map a weight into memory where it lies; Windows maps in steps of 64 KiB.
    private static ByteString? StoreOutside(Stream data, string location, TensorProto proto, Tensor tensor, Action<long>? written)
    {
        if (tensor.ByteLength < OutsideFrom) return UnsafeByteOperations.UnsafeWrap(tensor.Bytes());
        var page = tensor.ByteLength >= LargeTensor ? LargePage : Page;
        data.Position = (data.Position + page - 1) / page * page;
        proto.DataLocation = 1;
        foreach (var (key, value) in new[] { ("location", location), ("offset", data.Position.ToString()),
            ("length", tensor.ByteLength.ToString()) })
            proto.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        data.Write(tensor.Bytes());
        written?.Invoke(tensor.ByteLength);
        return null;
    }

    private static void Fit(OnnxGraph graph)
    {
        var size = WeightBytes(graph);
        if (size > LargestMessage) throw new UserError(
            $"model '{graph.Name}': {size / 1e9:F1} GB of weights do not fit into one ONNX file; write it with external data");
    }

    private static long WeightBytes(OnnxGraph graph) => graph.Values.Values.Where(v => v.Data is not null).Sum(v => v.Data!.ByteLength);
}
