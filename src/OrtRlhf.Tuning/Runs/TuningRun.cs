using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Tuning.Runs;

/// <summary>
/// A tuning run from its first line to its report: evaluate the base model, then for each epoch collect, score and update, then evaluate
/// again, all in one <see cref="RunFolder"/>.
/// </summary>
public static class TuningRun
{
    /// <summary>Starts a run and sees it through.</summary>
    /// <param name="options">What to do.</param>
    /// <param name="environment">Models, rewards, progress.</param>
    /// <param name="cancellation">Stops the run where it is; the last checkpoint stays.</param>
    /// <exception cref="UserError">A fault in the options, files, model or rewards, a full disk, or a run in the folder
    /// already.</exception>
    /// <exception cref="TuningInterruptedException">Cancelled.</exception>
    public static RunSummary Execute(TuningOptions options, TuningEnvironment environment, CancellationToken cancellation = default)
    {
        Require(options);
        var folder = new RunFolder(options.Output);
        if (File.Exists(folder.Options))
            throw new UserError($"`Output` {options.Output}: there is a run in this folder; resume it, or give another folder");
        PreferenceSelection? selection = null;
        if (options is PreferenceOptions { Preferences: { } place } choices)
        {
            selection = Selection(place, choices.ExpertWeights);
            options = choices with { Preferences = selection.Root };
        }
        var (model, prompts) = Model(options, environment);
        if (selection is not null) prompts = prompts.TrainedOn(selection.Prompts);
        using var reward = ParseReward(options, environment, prompts);
        var initial = options.InitAdapter is null ? null : AdapterFile.Open(options.InitAdapter).NamedAs(model);
        using var parts = TuningParts.Load(model, options, environment, prompts, reward, initial, selection);
        using var method = parts.Options.Create(parts);
        folder.Create();
        if (initial is not null) (initial with { Path = folder.InitialAdapter }).Write();
        JsonFile.Write(folder.Prompts, prompts);
        if (selection is not null) JsonFile.Write(folder.Preferences, selection);
        JsonFile.Write<object>(folder.Options, parts.Options);
        return TuningLoop.Run(folder, parts, method, from: null, cancellation);
    }

    /// <summary>Goes on with a run from its last checkpoint, to the same numbers as one that was never stopped.</summary>
    /// <param name="path">The run's folder.</param>
    /// <param name="environment">Models, rewards, progress.</param>
    /// <param name="epochs">More epochs than the run had, to train on; null for those it had.</param>
    /// <param name="cancellation">Stops the run where it is; the last checkpoint stays.</param>
    /// <exception cref="UserError">No run in the folder, or as <see cref="Execute"/>.</exception>
    /// <exception cref="TuningInterruptedException">Cancelled.</exception>
    public static RunSummary Resume(string path, TuningEnvironment environment, int? epochs = null,
        CancellationToken cancellation = default)
    {
        var folder = new RunFolder(path);
        if (!File.Exists(folder.Options)) throw new UserError($"run '{path}': there is no run in this folder: options.json is missing");
        var options = TuningMethods.ReadOptions(folder.Options) with { Output = path };
        var checkpoint = Checkpoint.Latest(folder.Checkpoints);
        if (epochs is { } more && more != options.Epochs)
        {
            if (checkpoint is { } latest && more < latest.Epoch) throw new UserError(
                $"`Epochs`: expected at least {latest.Epoch}, which the run has finished, got {more}");
            options = options with { Epochs = more };
        }
        else if (checkpoint?.Epoch == options.Epochs && File.Exists(folder.Summary)) return JsonFile.Read<RunSummary>(folder.Summary);
        Require(options);
        var prompts = JsonFile.Read<PromptPool>(folder.Prompts);
        // A run keeps what it began with: the file that was given may have gone.
        var initial = options.InitAdapter is null ? null : AdapterFile.Open(folder.InitialAdapter);
        var selection = options is not PreferenceOptions { Preferences: not null } ? null
            : JsonFile.Read<PreferenceSelection>(folder.Preferences);
        using var reward = ParseReward(options, environment, prompts);
        using var parts = TuningParts.Load(
            environment.OpenModel(options.Model, options.ModelOptions), options, environment, prompts, reward, initial, selection);
        using var method = parts.Options.Create(parts);
        folder.Create();
        JsonFile.Write<object>(folder.Options, options);
        return TuningLoop.Run(folder, parts, method, checkpoint, cancellation);
    }

    // Faults of a prompt file are told before those of a model, which takes longer to open.
    private static (ImageModel, PromptPool) Model(TuningOptions options, TuningEnvironment environment)
    {
        var given = options.Prompts is null ? null : PromptPool.Read(options.Prompts, options.HeldOutPrompts, options.Seed);
        var model = environment.OpenModel(options.Model, options.ModelOptions);
        if (model.IsConditional) return (model, given ?? PromptPool.Scenes(options.PromptKinds));
        return given is null ? (model, PromptPool.WithoutText)
            : throw new UserError($"`Prompts`: model '{model.Name}' draws without prompts; leave them out");
    }

    private static PreferenceSelection Selection(string place, IReadOnlyDictionary<string, double>? experts)
    {
        using var store = PreferenceStore.Open(place);
        return PreferenceSelection.Read(store, experts);
    }

    private static void Require(TuningOptions options)
    {
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UserError(string.Join("; ", faults));
    }

    private static WeightedReward ParseReward(TuningOptions options, TuningEnvironment environment, PromptPool prompts) =>
        environment.Rewards.Parse(options.Reward, prompts.All, options.Watch);
}
