namespace OrtRlhf.Learning.Schedulers;

/// <summary>The shape of the training betas (diffusers: <c>beta_schedule</c>).</summary>
public enum BetaSchedule
{
    /// <summary>Betas equally spaced from start to end (DDPM; diffusers "linear").</summary>
    Linear,

    /// <summary>Square roots of the betas equally spaced (latent diffusion; diffusers "scaled_linear").</summary>
    ScaledLinear,

    /// <summary>Squared-cosine alpha bar with betas capped at 0.999 (Nichol and Dhariwal 2021; diffusers "squaredcos_cap_v2").</summary>
    Cosine,

    /// <summary>Betas on a logistic curve from start to end (GeoDiff; diffusers "sigmoid").</summary>
    Sigmoid,
}
