using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Ipo"/>.</summary>
public sealed record IpoLossOptions
{
    /// <summary>beta, &gt; 0; the margin is drawn to 1/(2 beta). Default 2000.</summary>
    public double Beta { get; init; } = 2000;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("ipo").Expect(Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta).Throw();
}

/// <summary>
/// Identity preference optimization (Azar et al. 2023, equation 17) on the margin of <see cref="Dpo"/>:
/// <c>loss = mean_pairs (2 beta h - 1)^2</c>, with <c>h = ((L_ref_w - L_w) - (L_ref_l - L_l))/2</c>. Its gradient ends where the margin is
/// 1/(2 beta),
/// while that of DPO pushes on: it does not overfit pairs whose labels are certain.
/// </summary>
/// <remarks>Departure: the paper's <c>(h - 1/(2 beta))^2</c> times 4 beta^2, so that the loss begins at 1 whatever beta is.</remarks>
public static class Ipo
{
    /// <summary>Writes the loss into the graph of both models' outputs.</summary>
    /// <param name="errors">Pairs: the preferred samples are the first half, the rejected ones the second.</param>
    /// <param name="options">Options.</param>
    /// <returns>The loss, and the metrics of <see cref="Dpo.Loss"/>.</returns>
    /// <exception cref="UserError">The options are out of range, or the batch is odd.</exception>
    public static TrainingLoss Loss(DenoisingErrors errors, IpoLossOptions options)
    {
        options.Validate();
        var h = PreferencePairs.Margin(errors, "ipo");
        return new(PreferencePairs.MeanLoss(errors, Square((h * (2 * options.Beta)) - 1)), PreferencePairs.Metrics(errors, h));
    }
}
