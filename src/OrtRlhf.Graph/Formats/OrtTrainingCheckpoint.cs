using System.Text;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// The checkpoint of ONNX Runtime's training API: the parameters that its training, evaluation and optimizer models work on. A FlatBuffer with the
/// identifier ODTC: table Checkpoint { version: int32 = 2; module_state; optimizer_groups; property_bag }, table ModuleState { requires_grad_params,
/// frozen_params: [Tensor]; is_nominal_state, has_external_data: bool }, table Tensor { name, doc_string: string; dims: [int64]; data_type: int32;
/// raw_data: [uint8] }. Without optimizer groups moments begin at zero. Source: ONNX Runtime, orttraining/training_api/checkpoint.
/// </summary>
/// <param name="Parameters">Trained parameters by name, in the order of the models' inputs.</param>
public sealed record OrtTrainingCheckpoint(IReadOnlyList<(string Name, Tensor Data)> Parameters)
{
    private const int Version = 2, Align = 64;

    /// <summary>The bytes of the file.</summary>
    /// <exception cref="UserError">The parameters are larger than 2 GB.</exception>
    public byte[] ToBytes()
    {
        if (Parameters.Sum(p => p.Data.ByteLength + 1024) > int.MaxValue) throw new UserError("checkpoint: the parameters are larger than 2 GB; train adapters, or fewer layers");
        var file = new FlatBuffer();
        var root = file.Reserve();
        file.Bytes("ODTC"u8);
        // Fields that are left out (0, or at the end) have their defaults: no doc strings, no properties, nothing external.
        var (checkpoint, module, tensor) = (file.VirtualTable(4, 8), file.VirtualTable(4, 8), file.VirtualTable(4, 0, 8, 12, 16));

        file.Aim(root);
        file.Table(checkpoint);
        file.Number(Version);
        var moduleAt = file.Reserve();
        file.Aim(moduleAt);
        file.Table(module);
        var (trainedAt, frozenAt) = (file.Reserve(), file.Reserve());
        file.Aim(frozenAt);
        file.Number(0);
        file.Aim(trainedAt);
        file.Number(Parameters.Count);
        var tables = Parameters.Select(_ => file.Reserve()).ToArray();
        foreach (var ((name, data), table) in Parameters.Zip(tables)) Write(file, tensor, table, name, data);
        return file.ToArray();
    }

    private static void Write(FlatBuffer file, int fields, int table, string name, Tensor data)
    {
        file.Aim(table);
        file.Table(fields);
        var (nameAt, dimsAt) = (file.Reserve(), file.Reserve());
        file.Number((int)data.Type);
        var dataAt = file.Reserve();
        var text = Encoding.UTF8.GetBytes(name);
        file.Aim(nameAt);
        file.Number(text.Length);
        file.Bytes([.. text, 0]);
        file.AimVector(dimsAt, data.Dims.Length, sizeof(long));
        foreach (var dim in data.Dims) file.Bytes(BitConverter.GetBytes(dim));
        file.AimVector(dataAt, checked((int)data.ByteLength), Align);
        file.Bytes(data.Bytes());
    }
}
