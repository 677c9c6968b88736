using System.Numerics.Tensors;
using OrtRlhf.Learning.Simd;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The log-probability of a sampler's transition, in nats, as a mean over the latent's elements (as DDPO, D3PO and Flow-GRPO
/// take it): <c>logp = mean[-(x' - mu)^2/(2 sigma^2)] - ln sigma - ln sqrt(2 pi)</c>, <c>mu = cX*x + cM*m</c>.
/// </summary>
/// <remarks>
/// One pass over memory, vectorised; squares are summed in float over blocks of 1024 elements and in double across blocks.
/// All functions take one sample: the spans hold its C*H*W elements.
/// </remarks>
public static class GaussianLogProb
{
    private const int BlockLength = 1024;
    private static readonly double LnSqrt2Pi = 0.5 * Math.Log(2 * Math.PI);

    /// <summary>log p(x' | x) of a step that was taken.</summary>
    /// <param name="x">Latent before the step.</param>
    /// <param name="m">Model's output at x, guided.</param>
    /// <param name="next">Latent after the step, x'.</param>
    /// <param name="step">The step; sigma &gt; 0.</param>
    /// <returns>Mean log-density over the elements, in nats; NaN when a value is NaN.</returns>
    /// <exception cref="ArgumentException">Spans of different lengths or empty, or a step without a density.</exception>
    public static double OfStep(ReadOnlySpan<float> x, ReadOnlySpan<float> m, ReadOnlySpan<float> next, in GaussianStep step)
    {
        RequireSameLength(x.Length, m.Length, next.Length);
        RequireDensity(step.Sigma);
        return FromSquares(StepKernel.SumSquares(x, m, next, (float)step.CX, (float)step.CM), x.Length, step.Sigma);
    }

    /// <summary>log p(x') of a Gaussian with the given mean.</summary>
    /// <param name="mean">mu.</param>
    /// <param name="next">x'.</param>
    /// <param name="sigma">Standard deviation, &gt; 0.</param>
    /// <inheritdoc cref="OfStep" path="/returns"/>
    /// <exception cref="ArgumentException">Spans of different lengths or empty, or sigma not above 0.</exception>
    public static double OfMean(ReadOnlySpan<float> mean, ReadOnlySpan<float> next, double sigma)
    {
        RequireSameLength(mean.Length, next.Length, next.Length);
        RequireDensity(sigma);
        return FromSquares(SumSquaredDifferences(mean, next), mean.Length, sigma);
    }

    /// <summary>Takes a step, <c>x' = cX*x + cM*m + sigma*z</c>, and gives its log-probability, in the same pass.</summary>
    /// <param name="x">Latent before the step.</param>
    /// <param name="m">Model's output at x, guided.</param>
    /// <param name="z">Standard normal noise.</param>
    /// <param name="step">The step.</param>
    /// <param name="next">Receives x'; may be any of the inputs.</param>
    /// <returns>
    /// The log-probability of the rounded x', the very number <see cref="OfStep"/> gives for it; NaN when sigma is 0 (no density).
    /// </returns>
    /// <exception cref="ArgumentException">Spans of different lengths or empty.</exception>
    public static double Advance(
        ReadOnlySpan<float> x, ReadOnlySpan<float> m, ReadOnlySpan<float> z, in GaussianStep step, Span<float> next)
    {
        RequireSameLength(x.Length, m.Length, z.Length);
        RequireSameLength(x.Length, next.Length, next.Length);
        var sum = StepKernel.Advance(x, m, z, next, (float)step.CX, (float)step.CM, (float)step.Sigma);
        return step.HasDensity ? FromSquares(sum, x.Length, step.Sigma) : double.NaN;
    }

    /// <summary>
    /// Takes a step whose predicted clean sample is clamped (<see cref="X0Clip"/>), for evaluation. No log-probability: the
    /// mean is not linear.
    /// </summary>
    /// <param name="x">Latent before the step.</param>
    /// <param name="m">Model's output at x, guided.</param>
    /// <param name="z">Standard normal noise.</param>
    /// <param name="step">The step.</param>
    /// <param name="clip">The clamp of this step.</param>
    /// <param name="next">Receives x'; may be any of the inputs.</param>
    /// <exception cref="ArgumentException">Spans of different lengths or empty.</exception>
    public static void AdvanceClipped(
        ReadOnlySpan<float> x, ReadOnlySpan<float> m, ReadOnlySpan<float> z, in GaussianStep step, in X0Clip clip, Span<float> next)
    {
        RequireSameLength(x.Length, m.Length, z.Length);
        RequireSameLength(x.Length, next.Length, next.Length);
        for (var i = 0; i < x.Length; i++)
        {
            var x0 = clip.X0X * x[i] + clip.X0M * m[i];
            var beyond = Math.Clamp(x0, -clip.Range, clip.Range) - x0;
            next[i] = (float)(step.CX * x[i] + step.CM * m[i] + clip.Weight * beyond + step.Sigma * z[i]);
        }
    }

    /// <summary>
    /// KL divergence from the reference's step to the policy's, per element: both have the same sigma and latent, so
    /// <c>KL = mean[(mu - muRef)^2]/(2 sigma^2) = cM^2*mean[(m - mRef)^2]/(2 sigma^2)</c>.
    /// </summary>
    /// <param name="m">The policy's output, guided.</param>
    /// <param name="reference">The reference's output at the same latent.</param>
    /// <param name="step">The step; sigma &gt; 0.</param>
    /// <returns>Mean over the elements, in nats, at least 0.</returns>
    /// <exception cref="ArgumentException">Spans of different lengths or empty, or a step without a density.</exception>
    public static double Kl(ReadOnlySpan<float> m, ReadOnlySpan<float> reference, in GaussianStep step)
    {
        RequireSameLength(m.Length, reference.Length, reference.Length);
        RequireDensity(step.Sigma);
        return SumSquaredDifferences(m, reference) / m.Length * (step.CM * step.CM) / (2 * step.Sigma * step.Sigma);
    }

    private static double FromSquares(double sum, int count, double sigma) =>
        -sum / count / (2 * sigma * sigma) - Math.Log(sigma) - LnSqrt2Pi;

    private static double SumSquaredDifferences(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i += BlockLength)
        {
            var n = Math.Min(BlockLength, a.Length - i);
            double distance = TensorPrimitives.Distance(a.Slice(i, n), b.Slice(i, n));
            sum += distance * distance;
        }
        return sum;
    }

    private static void RequireSameLength(int a, int b, int c)
    {
        if (a == 0 || a != b || a != c)
            throw new ArgumentException($"expected spans of one length above 0, got {a}, {b} and {c}");
    }

    private static void RequireDensity(double sigma)
    {
        if (!(sigma > 0))
            throw new ArgumentException($"expected a step with a density, sigma > 0, got sigma = {sigma}");
    }
}
