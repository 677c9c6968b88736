using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>
/// The four artifacts that ONNX Runtime's own training API (training builds of 1.16 to 1.19) takes: <c>training_model.onnx</c>,
/// <c>eval_model.onnx</c>,
/// <c>optimizer_model.onnx</c> (AdamW) and <c>checkpoint</c>. The trained tensors are in the checkpoint, the frozen weights constants of
/// both models.
/// The runtime accumulates gradients between optimizer steps, clips none, and has a learning rate of 0.001 until its API sets another one:
/// files cannot.
/// </summary>
public static class OrtTrainingArtifacts
{
    /// <summary>The files' names.</summary>
    public const string TrainingName = "training_model.onnx", EvalName = "eval_model.onnx", OptimizerName = "optimizer_model.onnx",
        CheckpointName = "checkpoint";

    private const string Domain = "com.microsoft", Accumulation = ".accumulation", LazyReset = "lazy_reset_grad";

    /// <summary>Writes the four files.</summary>
    /// <param name="model">The denoiser.</param>
    /// <param name="options">What the training model computes.</param>
    /// <param name="optimizer">Constants of the optimizer.</param>
    /// <param name="folder">Where to; made if need be.</param>
    /// <returns>The training file as it is documented, without accumulation.</returns>
    /// <exception cref="UserError">Options are out of range, or the place cannot be written.</exception>
    public static TrainingFile Write(TrainingDenoiser model, TrainingFileOptions options, AdamWOptions optimizer, string folder)
    {
        optimizer.Validate();
        var training = TrainingFile.Build(model, options);
        Accumulate(training);
        OnnxFile.Write(training.Graph, Path.Combine(folder, TrainingName));
        OnnxFile.Write(WithoutDefaults(TrainingFile.Build(model, options, withGradients: false)), Path.Combine(folder, EvalName));
        AtomicFile.Write(Path.Combine(folder, OptimizerName),
            new OrtTrainingOptimizer(optimizer.Beta1, optimizer.Beta2, optimizer.Epsilon, optimizer.WeightDecay).ToBytes());
        AtomicFile.Write(Path.Combine(folder, CheckpointName), new OrtTrainingCheckpoint(training.Parameters).ToBytes());
        return training;
    }

    /// <summary>
    /// Gradients go into buffers of the runtime's, which adds to them or, on the first step after a reset, writes over them.
    /// </summary>
    private static void Accumulate(TrainingFile training)
    {
        var graph = WithoutDefaults(training);
        var buffers = training.Parameters.Select(p => graph.Input(p.Name + TrainingGraph.GradientSuffix + Accumulation + ".buffer",
            ElementType.Float, [.. graph[p.Name].Shape!.Dims])).ToArray();
        var reset = graph.Input(LazyReset, ElementType.Bool, 1);
        foreach (var ((name, _), buffer) in training.Parameters.Zip(buffers))
        {
            var gradient = graph[name + TrainingGraph.GradientSuffix];
            graph.Outputs.Remove(gradient);
            var updated = graph.Op("InPlaceAccumulatorV2", Domain, 1, [buffer, gradient, reset])[0];
            (updated.Type, updated.Shape) = (ElementType.Bool, Shape.Of(1));
            graph.Output(updated, gradient.Name + Accumulation + ".out");
        }
    }

    // The runtime finds parameters in the checkpoint; a default beside them would be a constant for it.
    private static OnnxGraph WithoutDefaults(TrainingFile file)
    {
        foreach (var (name, _) in file.Parameters) file.Graph[name].Data = null;
        return file.Graph;
    }
}
