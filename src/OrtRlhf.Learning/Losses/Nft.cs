using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="Nft"/>.</summary>
public sealed record NftLossOptions
{
    /// <summary>
    /// b, how far the implicit policies lie on either side of the old one, &gt; 0; default 1 (the paper: 0.1 to 1, smaller is stronger).
    /// </summary>
    public double Beta { get; init; } = 1;

    /// <summary>Divide each sample's squared error by its mean absolute error; default true.</summary>
    public bool AdaptiveWeight { get; init; } = true;

    /// <summary>Advantages of plus or minus this many standard deviations and more are rewards of 1 and 0, &gt; 0; default 5.</summary>
    public double AdvantageClip { get; init; } = 5;

    /// <summary>Weight of the squared distance to the reference's output, at least 0; default 0.</summary>
    public double KlWeight { get; init; }

    /// <summary>
    /// How fast the old policy comes to a rest, per update, at least 0; default 0.001 (<see cref="Nft.OldPolicyDecay"/>).
    /// </summary>
    public double DecayRate { get; init; } = 0.001;

    /// <summary>The most of the old policy that an update keeps, [0, 1); default 0.5.</summary>
    public double MaximumDecay { get; init; } = 0.5;

    /// <summary>Learning rate for LoRA, &gt; 0; default 3e-4.</summary>
    public double LearningRate { get; init; } = 3e-4;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("nft")
        .Expect(Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta)
        .Expect(AdvantageClip > 0 && double.IsFinite(AdvantageClip), "advantage clip", "a number > 0", AdvantageClip)
        .Expect(KlWeight >= 0 && double.IsFinite(KlWeight), "KL weight", "a number >= 0", KlWeight)
        .Expect(DecayRate >= 0 && double.IsFinite(DecayRate), "decay rate", "a number >= 0", DecayRate)
        .Expect(MaximumDecay is >= 0 and < 1, "maximum decay", "a number in [0, 1)", MaximumDecay)
        .Expect(LearningRate > 0 && double.IsFinite(LearningRate), "learning rate", "a number > 0", LearningRate)
        .Throw();
}

/// <summary>Clean samples of the old policy, noised again, as values of a training graph.</summary>
/// <param name="Errors">v and its target at <c>x_t = (1-t)*x0 + t*noise</c>, and the reference's output if there is a KL term.</param>
/// <param name="Old">The old policy's output for the same inputs, [B, C, H, W].</param>
/// <param name="Reward">r of each sample, 0 to 1 (<see cref="Nft.Rewards"/>), [B].</param>
/// <param name="Scale">Size of the clean sample's error by the output's, [B]: t of a flow, <c>s/a</c> of a model that predicts
/// noise.</param>
/// <param name="Weight">How much each sample counts, [B]: 1, or 0 for one that only fills a batch up; null where all count.</param>
public sealed record NftSamples(DenoisingErrors Errors, Value Old, Value Reward, Value Scale, Value? Weight = null)
{
    /// <summary>Declares the recorded fields as inputs of the policy's graph.</summary>
    /// <remarks><c>target</c>, <c>old_output</c> and <c>reference</c>, if asked for, [B, C, H, W]; <c>reward</c>, <c>error_scale</c> [B];
    /// all float.</remarks>
    /// <param name="output">v, with a static shape.</param>
    /// <param name="withReference">Whether the reference's output is an input too.</param>
    public static NftSamples Inputs(Value output, bool withReference)
    {
        var graph = output.Graph;
        Dim[] latent = [.. output.Sizes.Select(size => (Dim)size)];
        return new(
            DenoisingErrors.Inputs(output, withReference ? graph.Input("reference", ElementType.Float, latent) : null),
            graph.Input("old_output", ElementType.Float, latent), graph.Input("reward", ElementType.Float, latent[0]),
            graph.Input("error_scale", ElementType.Float, latent[0]));
    }
}

/// <summary>
/// DiffusionNFT, negative-aware fine-tuning on the forward process (Zheng et al. 2025, equation 5): the old policy's samples are noised
/// again, and the
/// policy v is trained by two implicit ones, <c>v+ = (1-b)*vOld + b*v</c> and <c>v- = (1+b)*vOld - b*v</c>:
/// <c>loss = mean_i r*e(v+) + (1-r)*e(v-)</c>. No log-probs, no trajectories, any sampler, no guidance.
/// </summary>
/// <remarks>
/// e is the squared error of the clean sample, <c>mean[d^2]</c> with <c>d = scale*(v - target)</c>, divided by <c>mean|d|</c>, at least
/// 1e-5, without a
/// gradient (the paper's self-normalised weight); or <c>mean[(v - target)^2]</c> without that weight. At v = vOld its gradient is
/// <c>(2r - 1)*b</c> times that of supervised training: good samples attract, bad ones repel, and r = 1/2 does neither.
/// The published code multiplies all but the KL term by <c>AdvantageClip/b</c>, which Adam does not see.
/// </remarks>
public static class Nft
{
    private const double LeastError = 1e-5;

    /// <summary>Writes the loss into the graph of the policy's output.</summary>
    /// <param name="samples">The samples, with a reference if the KL term has a weight.</param>
    /// <param name="options">Options.</param>
    /// <returns>
    /// The loss, and the metrics <c>mse</c>, <c>positive_error</c>, <c>negative_error</c> (means of e), <c>old_deviation</c> (mean (v -
    /// vOld)^2) and, with
    /// a reference, <c>kl</c> (mean (v - vRef)^2).
    /// </returns>
    /// <exception cref="UserError">The options are out of range.</exception>
    /// <exception cref="ArgumentException">The KL term has a weight, and the samples no reference.</exception>
    public static TrainingLoss Loss(NftSamples samples, NftLossOptions options)
    {
        options.Validate();
        var (v, target, old, r) = (samples.Errors.Output, samples.Errors.Target, samples.Old, samples.Reward);
        var step = (v - old) * options.Beta;
        var positive = Error(old + step - target);
        var negative = Error(old - step - target);
        var loss = Weighted(r * positive + (1 - r) * negative);

        var metrics = new Dictionary<string, Value>
        {
            ["mse"] = Mean(samples.Errors.OfModel()),
            ["positive_error"] = Mean(positive),
            ["negative_error"] = Mean(negative),
            ["old_deviation"] = Mean(Square(v - old)),
        };
        if (samples.Errors.Reference is { } reference)
        {
            var distance = MeanPerSample(Square(v - reference));
            metrics["kl"] = Mean(distance);
            if (options.KlWeight > 0) loss += Weighted(distance) * options.KlWeight;
        }
        else if (options.KlWeight > 0) throw new ArgumentException("the KL term of nft needs the reference's outputs", nameof(samples));
        return new(loss, metrics);

        Value Weighted(Value each) => Mean(samples.Weight is { } weight ? weight * each : each);

        Value Error(Value difference)
        {
            if (!options.AdaptiveWeight) return MeanPerSample(Square(difference));
            var d = samples.Scale.PerSample(difference.Shape!.Rank) * difference;
            var size = MeanPerSample(Abs(d));
            return MeanPerSample(Square(d)) / StopGradient(Max(size, size.Graph.Scalar(size.Type, LeastError)));
        }
    }

    /// <summary>The rewards as probabilities of being good, <c>r = 1/2 + clip(A/limit, -1, 1)/2</c>.</summary>
    /// <param name="advantages">Advantages within groups, in standard deviations (<see cref="Advantages.Advantage.PerGroup"/>).</param>
    /// <param name="options">Where they are clipped.</param>
    /// <returns>One number a sample, 0 to 1; 1/2 where a group's rewards are all equal.</returns>
    public static float[] Rewards(ReadOnlySpan<float> advantages, NftLossOptions options)
    {
        var rewards = new float[advantages.Length];
        for (var i = 0; i < rewards.Length; i++)
            rewards[i] = (float)(0.5 + Math.Clamp(advantages[i] / options.AdvantageClip, -1, 1) / 2);
        return rewards;
    }

    /// <summary>
    /// d of the update <c>old = d*old + (1-d)*policy</c> that follows each round of samples: <c>min(rate*update, maximum)</c>. It begins
    /// on-policy
    /// (d = 0) and slows down.
    /// </summary>
    /// <param name="update">The update's number, from 0.</param>
    /// <param name="options">Rate and maximum.</param>
    public static double OldPolicyDecay(int update, NftLossOptions options) => Math.Min(options.DecayRate * update, options.MaximumDecay);
}
