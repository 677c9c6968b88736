using Google.Protobuf;
using OrtRlhf.Graph.Formats.Onnx;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// Writes a model and its weights as one message, a weight in memory at a time: the lengths that stand in front of nested messages are
/// computed beforehand.
/// </summary>
internal static class OnnxStream
{
    private const int GraphField = ModelProto.GraphFieldNumber, WeightField = GraphProto.InitializerFieldNumber,
        BytesField = TensorProto.RawDataFieldNumber;

    /// <summary>Writes the model.</summary>
    /// <param name="graph">The graph, without composites.</param>
    /// <param name="stream">Receives the file.</param>
    /// <param name="streamedFrom">Weights of that many bytes or more are streamed; smaller ones are held together.</param>
    /// <param name="written">Is told the bytes of each weight that has been streamed; null for nobody.</param>
    public static void Write(OnnxGraph graph, Stream stream, int streamedFrom, Action<long>? written)
    {
        var streamed = new List<(TensorProto Proto, Tensor Data)>();
        var model = OnnxEncoder.Encode(graph, (proto, tensor) =>
        {
            if (tensor.ByteLength < streamedFrom) return UnsafeByteOperations.UnsafeWrap(tensor.Bytes());
            streamed.Add((proto, tensor));
            return null;
        });
        var (body, left) = (model.Graph, streamed.Select(s => s.Proto).ToHashSet(ReferenceEqualityComparer.Instance));
        TensorProto[] held = [.. body.Initializer.Where(i => !left.Contains(i))];
        body.Initializer.Clear();
        body.Initializer.AddRange(held);
        model.Graph = null;

        using var output = new CodedOutputStream(stream, leaveOpen: true);
        model.WriteTo(output);
        var length = body.CalculateSize() + streamed.Sum(s => Nested(WeightField, LengthOf(s.Proto, s.Data)));
        Open(output, GraphField, length);
        body.WriteTo(output);
        foreach (var (proto, data) in streamed)
        {
            Open(output, WeightField, LengthOf(proto, data));
            proto.WriteTo(output);
            Open(output, BytesField, data.ByteLength);
            output.Flush();
            stream.Write(data.Bytes());
            written?.Invoke(data.ByteLength);
        }
    }

    private static void Open(CodedOutputStream output, int field, long length)
    {
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteUInt64((ulong)length);
    }

    private static long LengthOf(TensorProto proto, Tensor data) => proto.CalculateSize() + Nested(BytesField, data.ByteLength);

    /// <summary>Length of a nested message with what stands in front of it.</summary>
    private static long Nested(int field, long length) =>
        CodedOutputStream.ComputeTagSize(field) + CodedOutputStream.ComputeUInt64Size((ulong)length) + length;
}
