using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="D3po"/>.</summary>
public sealed record D3poLossOptions
{
    /// <summary>beta, &gt; 0; default 0.1.</summary>
    public double Beta { get; init; } = 0.1;

    /// <summary>c, how far the ratio to the reference may move and still give a gradient, (0, 1); default 0.1.</summary>
    public double ClipRange { get; init; } = 0.1;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("d3po")
        .Expect(Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta)
        .Expect(ClipRange is > 0 and < 1, "clip range", "a number in (0, 1)", ClipRange)
        .Throw();
}

/// <summary>
/// Direct preference for denoising diffusion policy optimization (Yang et al. 2024, equation 12): whoever prefers a picture prefers every
/// step of its path.
/// With <c>r = clip(p_theta(x'|x)/p_ref(x'|x), 1-c, 1+c)</c> of the preferred path's step (w) and the rejected one's (l),
/// <c>loss = mean_pairs -weight*ln sigmoid(beta (ln r_w - ln r_l))</c>.
/// </summary>
/// <remarks>
/// As in the published code, log p is a mean over the latent's elements. The reference is the one whose output the transitions hold or,
/// without, the policy that
/// drew them: then a round's first gradient is that of <see cref="Reinforce"/> with advantages of plus and minus beta/2.
/// </remarks>
public static class D3po
{
    /// <summary>Writes the loss into the graph of the policy's output.</summary>
    /// <param name="transition">
    /// Pairs of recorded transitions, the preferred ones the first half, the rejected ones the second; the advantage is how much a pair
    /// counts, in both rows.
    /// </param>
    /// <param name="options">Options.</param>
    /// <returns>
    /// The loss, and the metrics of <see cref="Ddpo"/>, the ratio that to the policy that drew the transitions; <c>margin</c> (mean of beta
    /// (ln r_w - ln r_l))
    /// and <c>accuracy</c> (share of the pairs where it is positive).
    /// </returns>
    /// <exception cref="UserError">The options are out of range, or the batch is odd.</exception>
    public static TrainingLoss Loss(PolicyTransition transition, D3poLossOptions options)
    {
        options.Validate();
        var logp = transition.LogProb();
        var away = logp - (transition.Reference is null ? transition.OldLogProb : transition.ReferenceLogProb());
        var (low, high) = (Math.Log(1 - options.ClipRange), Math.Log(1 + options.ClipRange));
        var margin = PreferencePairs.Difference(Clip(away, low, high), "d3po") * options.Beta;
        var loss = -Mean(PreferencePairs.Preferred(transition.Advantage) * LogSigmoid(margin));

        var metrics = transition.Metrics(logp, Exp(logp - transition.OldLogProb));
        metrics["clip_fraction"] =
            Mean(Cast(Greater(Abs(away - ((low + high) / 2)), away.Graph.Scalar(away.Type, (high - low) / 2)), ElementType.Float));
        PreferencePairs.AddMetrics(metrics, margin);
        return new(transition.AddKl(loss, 0, metrics), metrics);
    }
}
