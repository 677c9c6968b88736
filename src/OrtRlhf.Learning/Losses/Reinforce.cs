using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Reinforce"/>.</summary>
public sealed record ReinforceLossOptions
{
    /// <summary>Advantages are limited to plus or minus this many standard deviations, &gt; 0; default 5.</summary>
    public double AdvantageClip { get; init; } = 5;

    /// <summary>Weight of the KL divergence to the reference, at least 0; default 0.</summary>
    public double KlWeight { get; init; }

    /// <summary>Learning rate for LoRA, &gt; 0; default 3e-4.</summary>
    public double LearningRate { get; init; } = 3e-4;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("reinforce")
        .Expect(AdvantageClip > 0, "advantage clip", "a number > 0", AdvantageClip)
        .Expect(KlWeight >= 0 && double.IsFinite(KlWeight), "KL weight", "a number >= 0", KlWeight)
        .Expect(LearningRate > 0 && double.IsFinite(LearningRate), "learning rate", "a number > 0", LearningRate)
        .Throw();
}

/// <summary>
/// The score-function estimator (Williams 1992; DDPO-SF in Black et al. 2023, equation 3):
/// <c>loss = -mean_i A log p_theta(x'|x)</c>, whose gradient is that of the expected reward as long as the samples are the
/// policy's own. Take one optimizer step per batch of samples: nothing corrects for older ones.
/// </summary>
/// <remarks>Log p is a mean over the latent's elements, as in <see cref="Ddpo"/>. Departure: an optional KL term to the
/// reference.</remarks>
public static class Reinforce
{
    /// <summary>Writes the loss into the graph of the policy's output.</summary>
    /// <param name="transition">The recorded transitions; the old log-probs only enter metrics.</param>
    /// <param name="options">Options.</param>
    /// <returns>
    /// The loss (its value says nothing, its gradient does), and the metrics <c>log_prob</c> [B], <c>ratio</c>,
    /// <c>ratio_deviation</c>, <c>approx_kl</c> and, with a reference, <c>kl</c>.
    /// </returns>
    /// <exception cref="UserError">The options are out of range.</exception>
    public static TrainingLoss Loss(PolicyTransition transition, ReinforceLossOptions options)
    {
        options.Validate();
        var logp = transition.LogProb();
        var loss = -Mean(transition.Advantage * logp);

        var metrics = transition.Metrics(logp, Exp(logp - transition.OldLogProb));
        return new(transition.AddKl(loss, options.KlWeight, metrics), metrics);
    }
}
