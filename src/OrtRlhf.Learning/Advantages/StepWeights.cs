using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Learning.Advantages;

/// <summary>How much each step of a trajectory counts in a policy gradient.</summary>
public enum StepWeighting
{
    /// <summary>All alike, as DDPO has it. The last, least noisy steps then weigh most.</summary>
    Uniform,

    /// <summary>
    /// By noise: early steps, which decide what is in the picture, count as much as the late ones, which decide its texture.
    /// </summary>
    Noise,
}

/// <summary>
/// Weights of a sampler's steps in a policy gradient; the advantage of a transition is multiplied by its step's. The gradient of a step's
/// log-prob by the model's
/// output m is <c>cM (x' - mu)/sigma^2</c>, of deviation <c>|cM|/sigma</c>: from 0.16 to 1.6 over ten DDIM steps of eta 1 with cosine
/// betas, whatever
/// the steps did for the reward.
/// <see cref="StepWeighting.Noise"/> is <c>w = sigma/|cM|</c>, so that every step's gradient has the same deviation (after TempFlow-GRPO's
/// noise-aware weighting, He et al., 2025).
/// </summary>
public static class StepWeights
{
    /// <summary>
    /// One weight a step, of mean 1 over the steps that have a density; 0 for those that have none, or on which the model has no effect.
    /// </summary>
    public static double[] Of(SamplerTable table, StepWeighting weighting)
    {
        var weights = table.Steps.Select(step =>
            !step.HasDensity || step.CM == 0 ? 0 : weighting == StepWeighting.Uniform ? 1 : step.Sigma / Math.Abs(step.CM)).ToArray();
        var mean = weights.Sum() / Math.Max(1, weights.Count(w => w > 0));
        return Array.ConvertAll(weights, w => w > 0 ? w / mean : 0);
    }
}
