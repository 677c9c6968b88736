using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Ddpo"/>.</summary>
public sealed record DdpoLossOptions
{
    /// <summary>c, half width of the ratio's trust region, (0, 1); default 1e-4: log-probs are means over elements.</summary>
    public double ClipRange { get; init; } = 1e-4;

    /// <summary>Advantages are limited to plus or minus this many standard deviations, &gt; 0; default 5.</summary>
    public double AdvantageClip { get; init; } = 5;

    /// <summary>Weight of the KL divergence to the reference, at least 0; default 0 (DDPO has none).</summary>
    public double KlWeight { get; init; }

    /// <summary>Learning rate for LoRA, &gt; 0; default 3e-4.</summary>
    public double LearningRate { get; init; } = 3e-4;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("ddpo")
        .Expect(ClipRange is > 0 and < 1, "clip range", "a number in (0, 1)", ClipRange)
        .Expect(AdvantageClip > 0, "advantage clip", "a number > 0", AdvantageClip)
        .Expect(KlWeight >= 0 && double.IsFinite(KlWeight), "KL weight", "a number >= 0", KlWeight)
        .Expect(LearningRate > 0 && double.IsFinite(LearningRate), "learning rate", "a number > 0", LearningRate)
        .Throw();
}

/// <summary>
/// Denoising diffusion policy optimization with importance sampling (Black et al. 2023, DDPO-IS, equation 4 with PPO's clipping):
/// each denoising step is an action, <c>r = p_theta(x'|x)/p_old(x'|x)</c>, and
/// <c>loss = mean_i max(-A r, -A clip(r, 1-c, 1+c))</c>.
/// </summary>
/// <remarks>
/// As in the published code, and unlike the paper's equation, log p is a mean over the latent's elements, not a sum: the
/// clip range is meant for that. Departure: an optional KL term to the reference, which the paper leaves out.
/// </remarks>
public static class Ddpo
{
    /// <summary>Writes the loss into the graph of the policy's output.</summary>
    /// <param name="transition">The recorded transitions.</param>
    /// <param name="options">Options.</param>
    /// <returns>
    /// The loss, and the metrics <c>log_prob</c> [B], <c>ratio</c>, <c>ratio_deviation</c>, <c>approx_kl</c>,
    /// <c>clip_fraction</c> (share of |r - 1| &gt; c) and, with a reference, <c>kl</c>.
    /// </returns>
    /// <exception cref="UserError">The options are out of range.</exception>
    public static TrainingLoss Loss(PolicyTransition transition, DdpoLossOptions options)
    {
        options.Validate();
        var (A, c) = (transition.Advantage, options.ClipRange);
        var logp = transition.LogProb();
        var r = Exp(logp - transition.OldLogProb);
        var loss = Mean(Max(-A * r, -A * Clip(r, 1 - c, 1 + c)));

        var metrics = transition.Metrics(logp, r);
        metrics["clip_fraction"] = Mean(Cast(Greater(Abs(r - 1), r.Graph.Scalar(r.Type, c)), ElementType.Float));
        return new(transition.AddKl(loss, options.KlWeight, metrics), metrics);
    }
}
