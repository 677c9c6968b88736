using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Losses;

/// <summary>Options of <see cref="FlowGrpo"/>.</summary>
public sealed record FlowGrpoLossOptions
{
    /// <summary>
    /// c, half width of the ratio's trust region, (0, 1); default 1e-4, as in the published code: log-probs are means over elements.
    /// </summary>
    public double ClipRange { get; init; } = 1e-4;

    /// <summary>Advantages are limited to plus or minus this many standard deviations, &gt; 0; default 5.</summary>
    public double AdvantageClip { get; init; } = 5;

    /// <summary>beta, weight of the KL divergence to the reference, at least 0; default 0.04.</summary>
    public double KlWeight { get; init; } = 0.04;

    /// <summary>G, samples of a prompt, 2 or more; default 24. The advantage compares a sample with the others of its prompt.</summary>
    public int GroupSize { get; init; } = 24;

    /// <summary>Learning rate for LoRA, &gt; 0; default 3e-4.</summary>
    public double LearningRate { get; init; } = 3e-4;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("flow-grpo")
        .Expect(ClipRange is > 0 and < 1, "clip range", "a number in (0, 1)", ClipRange)
        .Expect(AdvantageClip > 0, "advantage clip", "a number > 0", AdvantageClip)
        .Expect(KlWeight >= 0 && double.IsFinite(KlWeight), "KL weight", "a number >= 0", KlWeight)
        .Expect(GroupSize >= 2, "group size", "2 or more", GroupSize)
        .Expect(LearningRate > 0 && double.IsFinite(LearningRate), "learning rate", "a number > 0", LearningRate)
        .Throw();
}

/// <summary>
/// Flow-GRPO (Liu et al. 2025, equations 3 to 5): the clipped ratio of <see cref="Ddpo"/> on noisy flow steps
/// (<see cref="Schedulers.FlowTable"/>), with advantages within the group of a prompt (<see cref="Advantages.Advantage.PerGroup"/>) and a
/// KL term:
/// <c>loss = mean_i max(-A r, -A clip(r, 1-c, 1+c)) + beta*KL</c>, <c>KL = mean_i mean[(mu - muRef)^2]/(2 sigma^2)</c>.
/// </summary>
/// <remarks>
/// A group whose rewards are all equal has A = 0 and moves nothing but the KL term: leave it out. The published code divides the KL by s^2
/// in place of
/// <c>sigma^2 = -s^2*dt</c>: its beta weighs the true divergence -dt (about 1/N) times as much as the one here.
/// </remarks>
public static class FlowGrpo
{
    /// <summary>Writes the loss into the graph of the policy's output.</summary>
    /// <param name="transition">The recorded transitions, with a reference if the KL term has a weight.</param>
    /// <param name="options">Options.</param>
    /// <returns>The loss, and the metrics of <see cref="Ddpo.Loss"/>.</returns>
    /// <exception cref="UserError">The options are out of range.</exception>
    /// <exception cref="ArgumentException">The KL term has a weight, and the transitions no reference.</exception>
    public static TrainingLoss Loss(PolicyTransition transition, FlowGrpoLossOptions options)
    {
        options.Validate();
        if (options.KlWeight > 0 && transition.Reference is null)
            throw new ArgumentException("the KL term of flow-grpo needs the reference's outputs", nameof(transition));
        return Ddpo.Loss(transition,
            new() { ClipRange = options.ClipRange, AdvantageClip = options.AdvantageClip, KlWeight = options.KlWeight });
    }
}
