using OrtRlhf.Graph;

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
    /// <exception cref="UserError">A fault in the options, files, model or rewards, a full disk, or a run in the folder already.</exception>
    /// <exception cref="TuningInterruptedException">Cancelled.</exception>
    public static RunSummary Execute(TuningOptions options, TuningEnvironment environment, CancellationToken cancellation = default) =>
        throw new UserError($"{options.Output}: not built yet");

    /// <summary>Goes on with a run from its last checkpoint, to the same numbers as one that was never stopped.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="environment">Models, rewards, progress.</param>
    /// <param name="epochs">More epochs than the run had, to train on; null for those it had.</param>
    /// <param name="cancellation">Stops the run where it is; the last checkpoint stays.</param>
    /// <exception cref="UserError">No run in the folder, or as <see cref="Execute"/>.</exception>
    /// <exception cref="TuningInterruptedException">Cancelled.</exception>
    public static RunSummary Resume(string folder, TuningEnvironment environment, int? epochs = null, CancellationToken cancellation = default) =>
        throw new UserError($"{folder}: not built yet");
}
