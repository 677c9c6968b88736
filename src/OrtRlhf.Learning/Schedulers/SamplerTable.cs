using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>A sampler: its Gaussian steps, from noise to image.</summary>
/// <param name="Name">Name and settings in a few words, for messages: "DDIM, 50 steps, eta 1".</param>
/// <param name="Steps">The steps in the order in which they are taken.</param>
/// <param name="Clips">Clipping of the predicted clean sample, one entry a step; null when nothing is clipped.</param>
public sealed record SamplerTable(string Name, IReadOnlyList<GaussianStep> Steps, IReadOnlyList<X0Clip>? Clips = null)
{
    /// <summary>
    /// Indices of the steps that have a density. A last step with sigma 0 (final alpha 1) is taken when sampling
    /// but is not among them: training leaves it out rather than flooring its sigma.
    /// </summary>
    public IReadOnlyList<int> StepsWithDensity { get; } = [.. Enumerable.Range(0, Steps.Count).Where(i => Steps[i].HasDensity)];

    /// <summary>Checks that policy gradients can train on this sampler, and gives the indices of the steps they train on.</summary>
    /// <exception cref="UserError">No step has a density (eta 0), or the sampler clips the predicted clean sample.</exception>
    public IReadOnlyList<int> RequireDensity()
    {
        if (StepsWithDensity.Count == 0)
            throw new UserError(
                $"sampler ({Name}): policy gradients need steps with a density, expected sigma > 0, got sigma = 0 in all {Steps.Count} "
                    + $"steps; use eta > 0 (DDPO uses 1), or for a flow two or more steps with noise");
        if (Clips is not null)
            throw new UserError(
                $"sampler ({Name}): policy gradients need a mean linear in the model's output, expected clip_sample false, got true; set "
                    + $"clip_sample to false in scheduler_config.json");
        return StepsWithDensity;
    }
}
