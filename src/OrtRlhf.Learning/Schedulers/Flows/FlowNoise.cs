namespace OrtRlhf.Learning.Schedulers;

/// <summary>How noise enters the steps of a flow, whose own equation has none (<see cref="FlowTable"/>). Each has a level.</summary>
public enum FlowNoise
{
    /// <summary>None: Euler's deterministic steps, <c>x + v*dt</c>; no density, for sampling and evaluation.</summary>
    None,

    /// <summary>
    /// Euler's step with an assumed deviation <c>level*sqrt(-dt)</c>; default 0.1. Noise is added to the image, not compensated.
    /// </summary>
    Assumed,

    /// <summary>Flow-GRPO's equation (Liu et al. 2025), <c>s = level*sqrt(t/(1-t))</c>; default 0.7.</summary>
    FlowGrpo,

    /// <summary>DanceGRPO's equation (Xue et al. 2025), constant <c>s = level</c>; default 0.3.</summary>
    DanceGrpo,

    /// <summary>Coefficient-preserving steps (Wang and Yu 2025), <c>sigma = t'*sin(level*pi/2)</c>; default 0.6, at most 1.</summary>
    Cps,
}
