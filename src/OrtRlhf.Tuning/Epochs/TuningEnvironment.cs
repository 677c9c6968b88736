using OrtRlhf.Diffusion.Models;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>What a run is doing.</summary>
public enum TuningStage
{
    /// <summary>Loading the model; counts nothing.</summary>
    Loading,

    /// <summary>Held-out images of the base model.</summary>
    EvaluatingBase,

    /// <summary>Sampling images to train on.</summary>
    Sampling,

    /// <summary>Scoring them.</summary>
    Scoring,

    /// <summary>Gradients and updates; counts updates.</summary>
    Updating,

    /// <summary>Held-out images of the tuned model.</summary>
    Evaluating,

    /// <summary>Adapter, summary and report.</summary>
    Writing,
}

/// <summary>How far a stage is.</summary>
/// <param name="Stage">The stage.</param>
/// <param name="Epoch">The epoch, from 1; 0 before the first.</param>
/// <param name="Epochs">Epochs of the run.</param>
/// <param name="Done">Images or updates done.</param>
/// <param name="Total">Of how many; 0 where nothing is counted.</param>
public readonly record struct TuningProgress(TuningStage Stage, int Epoch, int Epochs, int Done, int Total);

/// <summary>
/// What a run takes from its surroundings: where models and rewards come from, and who is told of progress. Nothing here changes results.
/// </summary>
public sealed record TuningEnvironment
{
    /// <summary>The rewards that expressions can name.</summary>
    public RewardRegistry Rewards { get; init; } = RewardRegistry.Default;

    /// <summary>Opens the model of a folder.</summary>
    public Func<string, ModelOptions, ImageModel> OpenModel { get; init; } = ImageModel.Open;

    /// <summary>Told of every batch, on the run's own thread; may do nothing.</summary>
    public Action<TuningProgress> Progress { get; init; } = _ => { };

    /// <summary>Told of the evaluation of the base model, when it is done or read back.</summary>
    public Action<EvaluationResult> BaseEvaluated { get; init; } = _ => { };

    /// <summary>What the report says can be done with the adapter, of its summary, the run's folder and a prompt; nothing by default.</summary>
    public Func<RunSummary, string, string, IReadOnlyList<(string Title, string Code)>> Uses { get; init; } = (_, _, _) => [];

    /// <summary>Told of every epoch, when its line is in metrics.jsonl.</summary>
    public Action<EpochMetrics> EpochDone { get; init; } = _ => { };
}

/// <summary>A run was cancelled. The message says what is kept of it.</summary>
/// <param name="message">One line.</param>
/// <param name="run">The folder of the run.</param>
/// <param name="cancellation">What cancelled it.</param>
public sealed class TuningInterruptedException(string message, string run, CancellationToken cancellation)
    : OperationCanceledException(message, cancellation)
{
    /// <summary>The run's folder, to resume.</summary>
    public string Run => run;
}
