namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// Curves on which a flow's times may fall from the first to the last of the shifted ones, r from 0 to 1 (diffusers: <c>use_*_sigmas</c>,
/// taken after
/// the shift, as its releases from 0.33 on do).
/// </summary>
public enum FlowCurve
{
    /// <summary>The shifted times themselves.</summary>
    None,

    /// <summary><c>(first^(1/7) + r*(last^(1/7) - first^(1/7)))^7</c> (Karras et al. 2022).</summary>
    Karras,

    /// <summary><c>first^(1-r) * last^r</c>.</summary>
    Exponential,

    /// <summary>
    /// <c>last + (first - last)*Q(1-r)</c> with the quantiles Q of Beta(0.6, 0.6): more times at both ends (Lee et al. 2024).
    /// </summary>
    Beta,
}

/// <summary>The formulas of <see cref="FlowCurve"/>, from a first time of 1.</summary>
internal static class FlowCurves
{
    private const double Rho = 7, Shape = 0.6;

    // Half of the beta function B(0.6, 0.6), by symmetry.
    private static readonly double Half = Mass(0.5);

    /// <summary>The time at r, 0 to 1, of the way from 1 to the last.</summary>
    public static double At(FlowCurve curve, double r, double last) => curve switch
    {
        FlowCurve.Karras => Math.Pow(1 + r * (Math.Pow(last, 1 / Rho) - 1), Rho),
        FlowCurve.Exponential => Math.Pow(last, r),
        FlowCurve.Beta => last + (1 - last) * Quantile(1 - r),
        _ => throw new ArgumentOutOfRangeException(nameof(curve), curve, "no formula"),
    };

    /// <summary>Q(p) of Beta(0.6, 0.6), p from 0 to 1, by halving.</summary>
    internal static double Quantile(double p)
    {
        if (p > 0.5)
            return 1 - Quantile(1 - p);
        var (low, high) = (0.0, 0.5);
        for (var i = 0; i < 64; i++)
        {
            var middle = (low + high) / 2;
            if (Mass(middle) < 2 * p * Half)
                low = middle;
            else
                high = middle;
        }
        return low;
    }

    // The integral of t^-0.4 (1-t)^-0.4 from 0 to x, at most 0.5: x^0.6 times the sum of (0.4)_n x^n / (n! (n + 0.6)).
    private static double Mass(double x)
    {
        var (sum, term) = (0.0, 1.0);
        for (var n = 0; n < 60; n++)
        {
            sum += term / (n + Shape);
            term *= (n + 1 - Shape) * x / (n + 1);
        }
        return Math.Pow(x, Shape) * sum;
    }
}
