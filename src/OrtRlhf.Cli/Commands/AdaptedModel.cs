using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Commands;

/// <summary>
/// A model with the adapter of a file. An adapter that lies in a run's folder (<c>RUN/adapter/...</c>) brings that run's model and options
/// as defaults,
/// so that it is sampled and judged as it was trained.
/// </summary>
/// <param name="Adapter">The adapter's file; null for the base model.</param>
/// <param name="Run">The run's folder; null when the adapter is not in one.</param>
/// <param name="Options">The run's options; the defaults when there is none.</param>
internal sealed record AdaptedModel(AdapterFile? Adapter, RunFolder? Run, TuningOptions Options)
{
    /// <summary>Reads the adapter and the run around it.</summary>
    /// <param name="path">The adapter's file, a run's folder for what it has learnt, or null.</param>
    /// <exception cref="UserError">It cannot be read.</exception>
    public static AdaptedModel Find(string? path)
    {
        path = RunPlace.Adapter(path);
        if (path is null) return new(null, null, new DdpoOptions());
        var adapter = AdapterFile.Open(path);
        var folder = Directory.GetParent(Path.GetFullPath(path))?.Parent?.FullName;
        var run = folder is not null && Path.GetFileName(Path.GetDirectoryName(Path.GetFullPath(path))) == "adapter"
            ? new RunFolder(folder) : null;
        return run is not null && File.Exists(run.Options) ? new(adapter, run, TuningMethods.ReadOptions(run.Options))
            : new(adapter, null, new DdpoOptions());
    }

    /// <summary>Opens the model and lays the adapter over it.</summary>
    /// <param name="model">The model's folder; null for the run's, else the shipped one.</param>
    /// <param name="options">How to read it.</param>
    /// <exception cref="UserError">They cannot be read, or do not fit.</exception>
    public Policy Open(string? model, ModelOptions options)
    {
        var opened = ImageModel.Open(ModelFolder.Find(model ?? (Run is null ? null : Options.Model)), options);
        return Adapter is null ? Policy.OfBase(opened) : Policy.WithAdapter(opened, Adapter);
    }
}
