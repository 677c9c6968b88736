namespace OrtRlhf.Diffusion.Sampling;

/// <summary>Which sampler turns noise into latents; some are of diffusion models, others of flows.</summary>
public enum SamplerKind
{
    /// <summary>
    /// <see cref="Ddim"/> for a diffusion model; for a flow <see cref="Euler"/>, and to train policy gradients on <see cref="Cps"/> in a
    /// noise window that stays, else <see cref="FlowGrpo"/>.
    /// </summary>
    Auto,

    /// <summary>
    /// DDIM, <see cref="Learning.Schedulers.DdimTable"/>: with eta above 0 its steps have a density, and policy gradients can train on
    /// them.
    /// </summary>
    Ddim,

    /// <summary>
    /// DPM-Solver++(2M), <see cref="Learning.Schedulers.DpmSolverTable"/>: deterministic, for sampling and evaluation only; eta is not
    /// used.
    /// </summary>
    DpmSolver,

    /// <summary>
    /// Ancestral sampling of DDPM, <see cref="Learning.Schedulers.DdpmTable"/>, with the scheduler's variance: its steps have a density;
    /// eta is not used.
    /// </summary>
    Ddpm,

    /// <summary>Of a flow: Euler's deterministic steps, for sampling and evaluation.</summary>
    Euler,

    /// <summary>
    /// Of a flow: the two-step method of Adams and Bashforth, deterministic and of second order, for sampling and evaluation.
    /// </summary>
    AdamsBashforth,

    /// <summary>Of a flow: Flow-GRPO's noisy steps, <see cref="Learning.Schedulers.FlowNoise.FlowGrpo"/>.</summary>
    FlowGrpo,

    /// <summary>Of a flow: DanceGRPO's noisy steps, <see cref="Learning.Schedulers.FlowNoise.DanceGrpo"/>.</summary>
    DanceGrpo,

    /// <summary>Of a flow: coefficient-preserving noisy steps, <see cref="Learning.Schedulers.FlowNoise.Cps"/>.</summary>
    Cps,

    /// <summary>Of a flow: Euler's steps with an assumed deviation, <see cref="Learning.Schedulers.FlowNoise.Assumed"/>.</summary>
    NoisyEuler,
}
