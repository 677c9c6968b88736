using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Dpo"/>.</summary>
public sealed record DpoLossOptions
{
    /// <summary>
    /// beta, how strongly the reference holds, &gt; 0; default 2000 (the paper: 2000 to 5000), as errors are means over elements.
    /// </summary>
    public double Beta { get; init; } = 2000;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("dpo").Expect(Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta).Throw();
}

/// <summary>
/// Diffusion-DPO (Wallace et al. 2023, equation 14): <c>loss = mean_pairs -ln sigmoid(-beta/2 ((L_w - L_l) - (L_ref_w - L_ref_l)))</c>,
/// with
/// <c>L = mean[(m - target)^2]</c> of the preferred sample (w) and the rejected one (l), at the same timestep and with the same noise.
/// </summary>
/// <remarks>
/// As in the published code, and unlike the paper's equation, errors are means over elements, not sums, and neither T nor the noise
/// schedule's weights
/// appear: beta has them in it. A flow's target is its velocity, noise - x0 (<see cref="Schedulers.FlowSchedule.Target"/>): that is
/// Flow-DPO (Liu et al.
/// 2025) with a constant beta.
/// </remarks>
public static class Dpo
{
    /// <summary>Writes the loss into the graph of both models' outputs.</summary>
    /// <param name="errors">Pairs: the preferred samples are the first half, the rejected ones the second.</param>
    /// <param name="options">Options.</param>
    /// <returns>
    /// The loss, and the metrics <c>mse</c>, <c>reference_mse</c>, <c>margin</c> (mean of half the difference of the gains over the
    /// reference) and
    /// <c>accuracy</c> (share of the pairs where it is positive).
    /// </returns>
    /// <exception cref="UserError">The options are out of range, or the batch is odd.</exception>
    public static TrainingLoss Loss(DenoisingErrors errors, DpoLossOptions options)
    {
        options.Validate();
        var h = PreferencePairs.Margin(errors, "dpo");
        return new(PreferencePairs.MeanLoss(errors, -LogSigmoid(h * options.Beta)), PreferencePairs.Metrics(errors, h));
    }
}
