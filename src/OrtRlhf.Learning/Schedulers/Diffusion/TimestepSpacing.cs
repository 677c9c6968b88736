namespace OrtRlhf.Learning.Schedulers;

/// <summary>How N sampling timesteps are chosen among the T training timesteps (diffusers: <c>timestep_spacing</c>).</summary>
public enum TimestepSpacing
{
    /// <summary>Multiples of <c>T/N</c> (integer division) from 0 up, plus the steps offset; never reaches T-1.</summary>
    Leading,

    /// <summary><c>round(T - i*T/N) - 1</c>: starts at T-1, never reaches 0.</summary>
    Trailing,

    /// <summary>N points from T-1 to 0, both included, rounded.</summary>
    Linspace,
}
