namespace OrtRlhf.Tuning.Sampling;

/// <summary>Which sampler turns noise into latents.</summary>
public enum SamplerKind
{
    /// <summary>DDIM, <see cref="Learning.Schedulers.DdimTable"/>: with eta above 0 its steps have a density, and policy gradients can train on them.</summary>
    Ddim,

    /// <summary>DPM-Solver++(2M), <see cref="Learning.Schedulers.DpmSolverTable"/>: deterministic, for sampling and evaluation only; eta is not used.</summary>
    DpmSolver,

    /// <summary>
    /// Ancestral sampling of DDPM, <see cref="Learning.Schedulers.DdpmTable"/>, with the scheduler's variance: its steps have a density; eta is not used.
    /// </summary>
    Ddpm,
}
