using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Shipping;

/// <summary>How far an import is.</summary>
/// <param name="Place">The graph that is written, by its place in the folder.</param>
/// <param name="Done">Bytes of weights written so far.</param>
/// <param name="Total">Bytes of all weights.</param>
public readonly record struct ImportProgress(string Place, long Done, long Total);

/// <summary>
/// Writes what a checkpoint holds as ONNX models in Optimum's layout: <c>unet/model.onnx</c>, <c>text_encoder/model.onnx</c>,
/// <c>vae_decoder/model.onnx</c>,
/// <c>vae_encoder/model.onnx</c>, with configurations, scheduler and tokenizers beside them. Denoisers declare the tensors of adapters as
/// inputs with empty
/// defaults: without an adapter they compute exactly the base model, and with one that ONNX Runtime activates
/// (<c>RunOptions.AddActiveLoraAdapter</c>) the
/// tuned one, of any rank. Weights are read and written one at a time, so that memory does not grow with the model.
/// </summary>
public static class CheckpointImport
{
    private const string Model = "model.onnx", Data = "model.onnx.data";
    private const long Collected = 64 << 20;

    /// <summary>Writes the folder: whole, or not at all.</summary>
    /// <param name="plan">What to write.</param>
    /// <param name="output">The folder; one that an earlier import wrote is replaced.</param>
    /// <param name="progress">Is told after each weight; null for nobody.</param>
    /// <param name="cancellation">Stops between two weights.</param>
    /// <exception cref="UserError">The place is the model's own, holds other files, is too small or cannot be written, or a weight cannot
    /// be read.</exception>
    public static void Write(ImportPlan plan, string output, Action<ImportProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        if (Contains(output, plan.Folder)) throw new UserError($"import '{output}': holds the model that is imported; give another folder");
        var total = plan.Bytes;
        using var folder = StagedFolder.Begin(output, file => file is Model or Data || ImportPlan.FileNames.Contains(file));
        if (Free(folder.FullPath) is { } free && free < total) throw new UserError($"import '{output}': needs {total / 1e9:F1} GB, but "
            + $"the disk has {free / 1e9:F1} GB left; free some space, give another place, or use `Dtype` fp16");
        long done = 0, garbage = 0;
        foreach (var (place, graph) in plan.Graphs)
        {
            OnnxFile.Write(graph, Path.Combine(folder.FullPath, place, Model), written: bytes =>
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Invoke(new ImportProgress(place, done += bytes, total));
                // Weights are large objects, which the collector would let lie for long, and their memory longer still.
                if ((garbage += bytes) < Collected) return;
                GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
                garbage = 0;
            });
        }
        DiskFault.Guard(output, () =>
        {
            foreach (var (source, place) in plan.Files)
            {
                var target = Path.Combine(folder.FullPath, place);
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.Copy(source, target, overwrite: true);
            }
        });
        folder.Finish();
    }

    private static bool Contains(string outer, string inner) =>
        (Full(inner) + Path.DirectorySeparatorChar).StartsWith(Full(outer) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private static string Full(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    private static long? Free(string path)
    {
        try
        {
            return new DriveInfo(path).AvailableFreeSpace;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }
}
