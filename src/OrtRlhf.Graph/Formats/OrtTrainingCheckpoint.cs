namespace OrtRlhf.Graph.Formats;

/// <summary>
/// The checkpoint of ONNX Runtime's training API: the parameters that its training, evaluation and optimizer models work on. A FlatBuffer
/// with the
/// identifier ODTC: table Checkpoint { version: int32 = 2; module_state; optimizer_groups; property_bag }, table ModuleState {
/// requires_grad_params,
/// frozen_params: [Tensor]; is_nominal_state, has_external_data: bool }, table Tensor { name, doc_string: string; dims: [int64]; data_type:
/// int32;
/// raw_data: [uint8] }. Without optimizer groups moments begin at zero. Source: ONNX Runtime, orttraining/training_api/checkpoint.
/// </summary>
/// <param name="Parameters">Trained parameters by name, in the order of the models' inputs.</param>
public sealed record OrtTrainingCheckpoint(IReadOnlyList<(string Name, Tensor Data)> Parameters)
{
    private const int Version = 2;
    private static readonly FlatTensor Parameter = new(Name: 0, Dims: 2, Type: 3, Data: 4);

    /// <summary>The bytes of the file.</summary>
    /// <exception cref="UserError">The parameters are larger than 2 GB.</exception>
    public byte[] ToBytes()
    {
        var file = FlatTensor.Builder(Parameters, "checkpoint: the parameters are larger than 2 GB; train adapters, or fewer layers");
        var (trained, frozen) = (Parameter.Write(file, Parameters), Parameter.Write(file, []));
        // Fields that are left out have their defaults: no doc strings, no properties, nothing external.
        file.StartTable(2);
        file.AddOffset(1, frozen.Value, 0);
        file.AddOffset(0, trained.Value, 0);
        var module = file.EndTable();
        file.StartTable(2);
        file.AddOffset(1, module, 0);
        file.AddInt(0, Version, 0);
        file.Finish(file.EndTable(), "ODTC");
        return file.SizedByteArray();
    }
}
