namespace OrtRlhf.Learning.Schedulers;

/// <summary>The variance of a DDPM step (diffusers: <c>variance_type</c>).</summary>
public enum VarianceType
{
    /// <summary>The posterior's variance <c>(1-ap)/(1-at) * beta</c> (diffusers "fixed_small" and "fixed_small_log").</summary>
    FixedSmall,

    /// <summary>The forward step's variance <c>beta</c> (diffusers "fixed_large").</summary>
    FixedLarge,
}
