using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Kto"/>.</summary>
public sealed record KtoLossOptions
{
    /// <summary>beta, how strongly the reference holds, &gt; 0; default 2000.</summary>
    public double Beta { get; init; } = 2000;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("kto").Expect(Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta).Throw();
}

/// <summary>
/// Diffusion-KTO (Li et al. 2024) with the sigmoid utility of Kahneman-Tversky optimization (Ethayarajh et al. 2024): single samples that
/// are liked
/// (label 1) or not (label -1), without pairs. <c>r = beta/2 (L_ref - L)</c>, <c>z = max(0, mean r)</c> without a gradient, and
/// <c>loss = mean_i 1 - sigmoid(label (r - z))</c>. A label of 0 leaves a sample out.
/// </summary>
/// <remarks>z is the mean of the micro-batch, liked and disliked together; a batch of one sample has <c>z = max(0, r)</c>.</remarks>
public static class Kto
{
    /// <summary>Declares the labels as an input <c>label</c>, float [B].</summary>
    public static Value Labels(DenoisingErrors errors) => errors.Output.Graph.Input("label", ElementType.Float, errors.Batch);

    /// <summary>Writes the loss into the graph of both models' outputs.</summary>
    /// <param name="errors">Errors of the samples, with a reference.</param>
    /// <param name="label">1 for a sample that is liked, -1 for one that is not, 0 for one that does not count, [B].</param>
    /// <param name="options">Options.</param>
    /// <returns>The loss, and the metrics <c>mse</c>, <c>reference_mse</c>, <c>implicit_reward</c> [B] (r) and <c>baseline</c>
    /// (z).</returns>
    /// <exception cref="UserError">The options are out of range.</exception>
    public static TrainingLoss Loss(DenoisingErrors errors, Value label, KtoLossOptions options)
    {
        options.Validate();
        var r = errors.Gain() * (options.Beta / 2);
        var counts = Square(label);
        var z = StopGradient(Relu(Sum(counts * r) / Sum(counts)));
        var loss = Mean(counts * (1 - Sigmoid(label * (r - z))));

        var metrics = errors.Metrics();
        (metrics["implicit_reward"], metrics["baseline"]) = (r, z);
        return new(loss, metrics);
    }
}
