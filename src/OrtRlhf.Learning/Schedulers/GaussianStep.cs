namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// One transition of a sampler, a Gaussian whose mean is linear in the latent and the model's output:
/// <c>x' ~ N(cX*x + cM*m, sigma^2 I)</c>. A sampler is a table of such rows (<see cref="SamplerTable"/>).
/// </summary>
/// <param name="Time">
/// Where the model is evaluated: the training timestep's index, 0 to T-1, of diffusion models; <c>T*t</c>, with t in (0, 1], of flow
/// models,
/// in general no whole number.
/// </param>
/// <param name="CX">Weight of the current latent x in the mean.</param>
/// <param name="CM">Weight of the model's output m (epsilon, v, x0 or the flow's velocity, already guided) in the mean.</param>
/// <param name="Sigma">Standard deviation of the step, in units of the latent; 0 for a deterministic step.</param>
public readonly record struct GaussianStep(double Time, double CX, double CM, double Sigma)
{
    /// <summary>The time as the index that diffusion models take.</summary>
    public long Timestep => (long)Time;

    /// <summary>Whether the step has a density, i.e. sigma &gt; 0: only then has it a log-probability and can be trained on.</summary>
    public bool HasDensity => Sigma > 0;
}
