using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Runs;

/// <summary>The state of a run as files of a <see cref="Checkpoint"/>: adapters, optimizer, and the rest as JSON.</summary>
/// <param name="Seconds">Seconds that the run took so far, over all resumptions.</param>
/// <param name="PromptRewards">State of the method, see <see cref="ITuningMethod.Snapshot"/>.</param>
internal sealed record TuningCheckpoint(double Seconds, IReadOnlyDictionary<string, float[]> PromptRewards)
{
    private const string Adapter = "adapter.safetensors", Optimizer = "optimizer.safetensors", Rest = "state.json";

    /// <summary>Writes a checkpoint.</summary>
    /// <exception cref="UserError">Full disk or another I/O fault; earlier checkpoints are intact.</exception>
    public static void Save(RunFolder folder, int epoch, TuningParts parts, ITuningMethod method, double seconds) =>
        Checkpoint.Save(folder.Checkpoints, epoch,
    [
        new(Adapter, stream => SafetensorsFile.Write(stream, parts.Policy.Adapters.ToTensors())),
        new(Optimizer, stream => SafetensorsFile.Write(stream, parts.Learner.Snapshot())),
        new(Rest, stream => JsonSerializer.Serialize(stream, new TuningCheckpoint(seconds, method.Snapshot()), JsonFile.Indented)),
    ]);

    /// <summary>Puts a run into a checkpoint's state.</summary>
    /// <exception cref="UserError">The checkpoint is of another model, method or rank.</exception>
    public static TuningCheckpoint Restore(Checkpoint checkpoint, TuningParts parts, ITuningMethod method)
    {
        var adapters = SafetensorsFile.Open(checkpoint.PathOf(Adapter));
        parts.Policy.Adapters.Load((name, _) => adapters[name]);
        parts.Learner.Restore(SafetensorsFile.Open(checkpoint.PathOf(Optimizer)).Tensors);
        var rest = JsonFile.Read<TuningCheckpoint>(checkpoint.PathOf(Rest));
        method.Restore(rest.PromptRewards);
        return rest;
    }
}
