using OrtRlhf.Graph;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Runs where a file of theirs is meant.</summary>
internal static class RunPlace
{
    /// <summary>An adapter's file: the path as it is, or, of a run's folder, what the run has learnt.</summary>
    /// <param name="path">A path, or null.</param>
    /// <exception cref="UserError">The run has no adapter yet.</exception>
    public static string? Adapter(string? path)
    {
        if (path is null || !Directory.Exists(path) || !File.Exists(new RunFolder(path).Options)) return path;
        var adapter = Path.Combine(new RunFolder(path).Adapter, "adapter.safetensors");
        return File.Exists(adapter) ? adapter : throw new UserError(
            $"run '{path}': has no adapter yet; it is written when the run ends: go on with 'ortrlhf tune --resume {path}'");
    }
}
