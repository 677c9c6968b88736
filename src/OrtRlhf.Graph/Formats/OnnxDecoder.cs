using System.Runtime.InteropServices;
using Google.Protobuf;
using OrtRlhf.Graph.Formats.Onnx;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Graph.Formats;

/// <summary>Makes a graph of ONNX messages. The messages may come from anywhere: everything is checked before it is used.</summary>
internal static class OnnxDecoder
{
    // Before this IR version every initializer had to be an input too, which says nothing about whether it may be overridden.
    private const int FirstFreeInitializers = 4;

    public static OnnxGraph Decode(ModelProto model, string name, ExternalFiles? files)
    {
        if (model.Graph is not { } proto || (proto.Node.Count == 0
            && proto.Output.Count == 0)) throw new UserError($"model '{name}': not an ONNX model, it holds no graph");
        if (model.Functions.Count > 0) throw new UserError(
            $"model '{name}': functions in the model are not supported; export it with its functions inlined");
        if (proto.SparseInitializer.Count > 0) throw new UserError($"model '{name}': sparse weights are not supported; save them dense");
        if (model.OpsetImport.Count == 0) throw new UserError(
            $"model '{name}': names no operator set; the file is truncated or not an ONNX model");
        var graph = new OnnxGraph(proto.Name);
        foreach (var set in model.OpsetImport)
        {
            if (Domain(set.Domain).Length == 0) graph.Opset = (int)Math.Clamp(set.Version, 0, int.MaxValue);
            else graph.Domains[set.Domain] = set.Version;
        }
        foreach (var entry in model.MetadataProps) graph.Metadata[entry.Key] = entry.Value;

        foreach (var tensor in proto.Initializer) graph.Constant(Tensor(tensor, $"model '{name}': weight '{tensor.Name}'", files),
            tensor.Name);
        foreach (var input in proto.Input)
        {
            var (type, shape) = TypeOf(input, name);
            if (graph.Values.TryGetValue(input.Name, out var value))
            {
                if (value.Data is null) throw new UserError($"model '{name}': the input '{input.Name}' is declared twice");
                if (model.IrVersion < FirstFreeInitializers) continue;
                graph.MakeParameter(value);
                if (shape is not null) value.Shape = shape;
            }
            else
            {
                value = graph.Input(input.Name, type);
                value.Shape = shape;
            }
        }
        DecodeNodes(graph, proto, name, files);
        foreach (var info in proto.ValueInfo.Concat(proto.Output))
        {
            if (!graph.Values.TryGetValue(info.Name, out var value) || value.Producer is null) continue;
            (value.Type, value.Shape) = TypeOf(info, name);
        }
        foreach (var output in proto.Output)
            graph.Outputs.Add(graph.Values.TryGetValue(output.Name, out var value) ? value
                : throw new UserError($"model '{name}': the output '{output.Name}' is made by no node"));
        graph.Sort();
        InferShapes.Apply(graph, keepKnown: true);
        return graph;
    }

    private static void DecodeNodes(OnnxGraph graph, GraphProto proto, string name, ExternalFiles? files)
    {
        var nodes = new List<(Node, NodeProto)>(proto.Node.Count);
        foreach (var item in proto.Node)
        {
            // A constant needs no node.
            if (item.OpType == "Constant" && Domain(item.Domain).Length == 0 && item.Output.Count == 1
                && ConstantOf(item, name, files) is { } data)
            {
                graph.Constant(data, item.Output[0]);
                continue;
            }
            var node = graph.AddRaw(item.OpType, Domain(item.Domain), NameOf(item));
            foreach (var attribute in item.Attribute) node.Attributes[attribute.Name] = AttributeOf(attribute,
                $"model '{name}': {node}", files);
            foreach (var output in item.Output) node.Outputs.Add(output.Length == 0 ? null : graph.NewValue(output, node));
            nodes.Add((node, item));
        }
        foreach (var (node, item) in nodes)
        {
            foreach (var input in item.Input) node.Inputs.Add(input.Length == 0 ? null : Find(node, input));
            foreach (var outer in item.Attribute.SelectMany(Subgraphs.Of).SelectMany(Subgraphs.Outer)) node.Captured[outer] =
                Find(node, outer);
        }

        Value Find(Node node, string input) => graph.Values.TryGetValue(input, out var value)
            ? value : throw new UserError($"model '{name}': {node} reads '{input}', which nothing makes");
    }

    /// <summary>
    /// A node's name, with the path of its module in front where PyTorch's newer exporter keeps that as metadata: a list such as
    /// <c>['', 'mid_block', 'mid_block.attn1', 'mid_block.attn1.to_q', 'linear_3']</c>, the last one the node itself.
    /// </summary>
    private static string NameOf(NodeProto node)
    {
        if (node.MetadataProps.FirstOrDefault(m =>
            m.Key == "pkg.torch.onnx.name_scopes")?.Value.Split('\'') is not { Length: >= 5 } parts) return node.Name;
        var module = parts[^4];
        return module.Length == 0 || node.Name.StartsWith('/') ? node.Name : $"/{module}/{node.Name}";
    }

    private static string Domain(string domain) => domain is "ai.onnx" ? "" : domain;

    private static Tensor? ConstantOf(NodeProto node, string model, ExternalFiles? files) => node.Attribute is [var a] ? a.Name switch
    {
        "value" when a.T is not null && a.T.DataType != (int)ElementType.String =>
            Tensor(a.T, $"model '{model}': constant '{node.Output[0]}'", files),
        "value_float" => Graph.Tensor.Scalar(a.F),
        "value_int" => Graph.Tensor.Scalar(a.I),
        "value_floats" => Graph.Tensor.Of([.. a.Floats], a.Floats.Count),
        "value_ints" => Graph.Tensor.Vector([.. a.Ints]),
        _ => null,
    } : null;

    private static object AttributeOf(AttributeProto a, string owner, ExternalFiles? files) => a.Type switch
    {
        AttributeType.Float => a.F,
        AttributeType.Int => a.I,
        AttributeType.String => a.S.ToStringUtf8(),
        AttributeType.Floats => a.Floats.ToArray(),
        AttributeType.Ints => a.Ints.ToArray(),
        AttributeType.Strings => a.Strings.Select(s => s.ToStringUtf8()).ToArray(),
        AttributeType.Tensor when a.T is not null && a.T.DataType != (int)ElementType.String =>
            Tensor(a.T, $"{owner}, attribute {a.Name}", files),
        _ => a,
    };

    private static (ElementType Type, Shape? Shape) TypeOf(ValueInfoProto info, string name)
    {
        if (info.Type is null) return (ElementType.Undefined, null);
        if (info.Type.TensorType is not { } type) throw new UserError(
            $"model '{name}': value '{info.Name}' is a sequence, a map or optional; expected a tensor");
        return ((ElementType)type.ElemType, type.Shape is null ? null : new Shape(type.Shape.Dim.Select((d, i) =>
            d.ValueCase == TensorShapeProto.Types.Dimension.ValueOneofCase.DimValue && d.DimValue >= 0 ? (Dim)d.DimValue
            : d.DimParam.Length > 0 ? d.DimParam : $"{info.Name}_{i}")));
    }

    private static Tensor Tensor(TensorProto t, string owner, ExternalFiles? files)
    {
        var type = (ElementType)t.DataType;
        long[] dims = [.. t.Dims];
        if (!Enum.IsDefined(type) || type is ElementType.Undefined or ElementType.String) throw new UserError(
            $"{owner}: element type {t.DataType} is not supported; expected a number type");
        long count;
        try
        {
            count = dims.Any(d => d < 0) ? throw new OverflowException() : dims.Aggregate(1L, (a, b) => checked(a * b));
            _ = checked(count * type.SizeOf());
        }
        catch (OverflowException fault)
        {
            throw new UserError($"{owner}: impossible sizes [{string.Join(",", dims)}]", fault);
        }
        var bytes = count * type.SizeOf();
        if (t.DataLocation != 0)
        {
            if (files is null) throw new UserError($"{owner}: lies in another file; read the model from its folder");
            var place = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var entry in t.ExternalData) place[entry.Key] = entry.Value;
            return files.Tensor(owner, type, dims, bytes, place);
        }
        var data = t.RawData.Length > 0 ? Bytes(t.RawData) : Typed(t, type);
        if (data.LongLength != bytes) throw new UserError(
            $"{owner}: expected {bytes} bytes for {type} [{string.Join(",", dims)}], got {data.Length}");
        return new Tensor(type, dims, data);
    }

    /// <summary>The array behind a string of bytes where it is just that, else a copy.</summary>
    private static byte[] Bytes(ByteString bytes) =>
        MemoryMarshal.TryGetArray(bytes.Memory, out var segment) && segment.Offset == 0 && segment.Array!.Length == segment.Count
        ? segment.Array : bytes.ToByteArray();

    /// <summary>Elements in the fields that small tensors may use instead of raw bytes.</summary>
    private static byte[] Typed(TensorProto t, ElementType type) => type switch
    {
        ElementType.Float => MemoryMarshal.AsBytes<float>(t.FloatData.ToArray()).ToArray(),
        ElementType.Double => MemoryMarshal.AsBytes<double>(t.DoubleData.ToArray()).ToArray(),
        ElementType.Int64 => MemoryMarshal.AsBytes<long>(t.Int64Data.ToArray()).ToArray(),
        ElementType.UInt64 => MemoryMarshal.AsBytes<ulong>(t.Uint64Data.ToArray()).ToArray(),
        ElementType.UInt32 => MemoryMarshal.AsBytes<uint>(t.Uint64Data.Select(v => (uint)v).ToArray()).ToArray(),
        ElementType.Int32 => MemoryMarshal.AsBytes<int>(t.Int32Data.ToArray()).ToArray(),
        ElementType.Bool or ElementType.UInt8 or ElementType.Int8 => [.. t.Int32Data.Select(v => (byte)v)],
        _ => MemoryMarshal.AsBytes<ushort>(t.Int32Data.Select(v => (ushort)v).ToArray()).ToArray(),
    };
}
