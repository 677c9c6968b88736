using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Turns preferences into gradients.</summary>
internal interface IPreferenceTrainer : IDisposable
{
    /// <summary>Begins an epoch, before its first update.</summary>
    /// <param name="epoch">From 1.</param>
    /// <param name="examples">All of the epoch.</param>
    /// <param name="cancellation">Stops between batches.</param>
    /// <exception cref="Graph.UserError">The examples lack what the method needs.</exception>
    void Begin(int epoch, IReadOnlyList<PreferenceExample> examples, CancellationToken cancellation);

    /// <summary>Adds the gradient of the mean loss over some examples to a sum.</summary>
    /// <param name="epoch">From 1.</param>
    /// <param name="pass">From 0.</param>
    /// <param name="examples">At least one.</param>
    /// <param name="sum">Receives the gradient.</param>
    /// <param name="cancellation">Stops between batches.</param>
    StepMetrics Accumulate(int epoch, int pass, IReadOnlyList<PreferenceExample> examples, Gradients sum, CancellationToken cancellation);
}
