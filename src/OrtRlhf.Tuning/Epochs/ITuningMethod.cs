using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>One way to learn: an epoch at a time, from images that it collects itself.</summary>
internal interface ITuningMethod : IDisposable
{
    /// <summary>Runs an epoch: collects, scores, updates the adapters.</summary>
    /// <param name="epoch">From 1.</param>
    /// <param name="clock">Takes the time of each stage.</param>
    /// <param name="cancellation">Stops between batches; the adapters are then undefined.</param>
    /// <exception cref="Graph.UserError">A score, loss or gradient that is not finite.</exception>
    EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation);

    /// <summary>State beside the optimizer's: rewards by prompt, for a checkpoint.</summary>
    IReadOnlyDictionary<string, float[]> Snapshot();

    /// <summary>Replaces that state.</summary>
    void Restore(IReadOnlyDictionary<string, float[]> snapshot);
}
