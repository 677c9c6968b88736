using Google.Protobuf;
using OrtRlhf.Graph.Formats.Onnx;

namespace OrtRlhf.Graph.Formats;

/// <summary>Makes ONNX messages of a graph.</summary>
internal static class OnnxEncoder
{
    private const string Producer = "OrtRlhf";
    private const int IrVersion = 8;

    /// <summary>The model's message.</summary>
    /// <param name="graph">The graph, without composites.</param>
    /// <param name="store">Gives a tensor's bytes, or null after having put them elsewhere.</param>
    public static ModelProto Encode(OnnxGraph graph, Func<TensorProto, Tensor, ByteString?> store)
    {
        var model = new ModelProto
        {
            IrVersion = graph.Opset > 18 ? IrVersion + 1 : IrVersion,
            ProducerName = Producer,
            Graph = new GraphProto { Name = graph.Name }
        };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = graph.Opset });
        foreach (var domain in graph.Nodes.Select(n => n.Domain).Concat(graph.Domains.Keys).Where(d => d.Length > 0).Distinct())
            model.OpsetImport.Add(new OperatorSetIdProto { Domain = domain, Version = graph.Domains.GetValueOrDefault(domain, 1) });
        foreach (var (key, value) in graph.Metadata) model.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });

        var used = graph.Nodes.SelectMany(n => n.Reads).Concat(graph.Outputs).ToHashSet();
        foreach (var value in graph.Values.Values.Where(v => v.Data is not null && (v.IsInput || used.Contains(v))))
        {
            var proto = new TensorProto { Name = value.Name, DataType = (int)value.Data!.Type };
            proto.Dims.AddRange(value.Data.Dims);
            if (store(proto, value.Data) is { } bytes) proto.RawData = bytes;
            model.Graph.Initializer.Add(proto);
        }
        model.Graph.Input.AddRange(graph.Inputs.Select(Info));
        model.Graph.Output.AddRange(graph.Outputs.Select(Info));
        var names = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var node in graph.Nodes)
        {
            var proto = new NodeProto { OpType = node.Op, Domain = node.Domain, Name = UniqueName(node.Name, names) };
            proto.Input.AddRange(node.Inputs.Select(i => i?.Name ?? ""));
            proto.Output.AddRange(node.Outputs.Select(o => o?.Name ?? ""));
            proto.Attribute.AddRange(node.Attributes.Select(a => Attribute(node, a.Key, a.Value)));
            model.Graph.Node.Add(proto);
        }
        return model;
    }

    /// <summary>Runtimes refuse two nodes of one name; a module that does an operation twice gives them.</summary>
    private static string UniqueName(string name, Dictionary<string, int> taken)
    {
        if (name.Length == 0) return name;
        var unique = name;
        while (!taken.TryAdd(unique, 0)) unique = $"{name}_{++taken[name]}";
        return unique;
    }

    private static ValueInfoProto Info(Value value)
    {
        var type = new TypeProto.Types.Tensor { ElemType = (int)value.Type };
        if (value.Shape is { } shape)
        {
            type.Shape = new TensorShapeProto();
            foreach (var dim in shape.Dims)
                type.Shape.Dim.Add(dim.IsKnown ? new TensorShapeProto.Types.Dimension { DimValue = dim.Size }
                    : new TensorShapeProto.Types.Dimension { DimParam = dim.Symbol });
        }
        return new ValueInfoProto { Name = value.Name, Type = new TypeProto { TensorType = type } };
    }

    private static AttributeProto Attribute(Node node, string name, object value)
    {
        var proto = new AttributeProto { Name = name };
        switch (value)
        {
            case long i: (proto.Type, proto.I) = (AttributeType.Int, i); break;
            case float f: (proto.Type, proto.F) = (AttributeType.Float, f); break;
            case string s: (proto.Type, proto.S) = (AttributeType.String, ByteString.CopyFromUtf8(s)); break;
            case long[] list:
                proto.Type = AttributeType.Ints;
                proto.Ints.AddRange(list);
                break;
            case float[] list:
                proto.Type = AttributeType.Floats;
                proto.Floats.AddRange(list);
                break;
            case string[] list:
                proto.Type = AttributeType.Strings;
                proto.Strings.AddRange(list.Select(ByteString.CopyFromUtf8));
                break;
            case Tensor t:
                proto.Type = AttributeType.Tensor;
                proto.T = new TensorProto { DataType = (int)t.Type, RawData = ByteString.CopyFrom(t.Bytes()) };
                proto.T.Dims.AddRange(t.Dims);
                break;
            case AttributeProto raw: return Subgraphs.Renamed(raw, node.Captured);
            default: throw new UserError($"{node}: attribute {name} has a type that ONNX does not know: {value.GetType().Name}");
        }
        return proto;
    }
}
