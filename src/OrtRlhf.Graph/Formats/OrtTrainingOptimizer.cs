using Google.Protobuf;
using OrtRlhf.Graph.Formats.Onnx;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// The optimizer model of ONNX Runtime's training API: inputs <c>learning_rate</c> float [1], <c>step</c> int64 [1] and the sequences of
/// float tensors
/// <c>params, gradients, first_order_moments, second_order_moments</c>, in this order, into one AdamWOptimizer, which changes them in place
/// and
/// gives <c>updated_flag</c> bool [1]. Its mode 0 is PyTorch's AdamW. Source: ONNX Runtime, orttraining, contrib operators.
/// </summary>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Decoupled weight decay.</param>
public sealed record OrtTrainingOptimizer(double Beta1, double Beta2, double Epsilon, double WeightDecay)
{
    private const int IrVersion = 8, Opset = 17;
    private const string Microsoft = "com.microsoft";
    private static readonly string[] Sequences = ["params", "gradients", "first_order_moments", "second_order_moments"];

    /// <summary>The bytes of the model.</summary>
    public byte[] ToBytes()
    {
        var node = new NodeProto { OpType = "AdamWOptimizer", Domain = Microsoft, Name = "AdamWOptimizer" };
        node.Input.AddRange(["learning_rate", "step", .. Sequences]);
        node.Output.Add("updated_flag");
        foreach (var (name, value) in new[] { ("alpha", Beta1), ("beta", Beta2), ("epsilon", Epsilon), ("weight_decay", WeightDecay) })
            node.Attribute.Add(new AttributeProto { Name = name, Type = AttributeType.Float, F = (float)value });
        foreach (var (name, value) in new[] { ("adam_mode", 0L), ("correct_bias", 1L) })
            node.Attribute.Add(new AttributeProto { Name = name, Type = AttributeType.Int, I = value });

        var graph = new GraphProto { Name = "AdamW" };
        graph.Input.Add(Info("learning_rate", One(ElementType.Float)));
        graph.Input.Add(Info("step", One(ElementType.Int64)));
        foreach (var name in Sequences)
            graph.Input.Add(Info(name,
                new TypeProto { SequenceType = new TypeProto.Types.Sequence { ElemType = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)ElementType.Float } } } }));
        graph.Output.Add(Info("updated_flag", One(ElementType.Bool)));
        graph.Node.Add(node);
        var model = new ModelProto { IrVersion = IrVersion, ProducerName = "OrtRlhf", Graph = graph };
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = "", Version = Opset });
        model.OpsetImport.Add(new OperatorSetIdProto { Domain = Microsoft, Version = 1 });
        return model.ToByteArray();
    }

    private static ValueInfoProto Info(string name, TypeProto type) => new() { Name = name, Type = type };

    private static TypeProto One(ElementType type)
    {
        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = 1 });
        return new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = (int)type, Shape = shape } };
    }
}
