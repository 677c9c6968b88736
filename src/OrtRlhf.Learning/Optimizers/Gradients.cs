using System.Numerics.Tensors;
using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>Gradients of one contiguous parameter vector: accumulation over micro-batches, global norm, clipping.</summary>
/// <param name="length">Number of parameters.</param>
public sealed class Gradients(int length)
{
    private const int BlockLength = 4096;
    private readonly float[] sum = new float[length];

    /// <summary>The accumulated gradient.</summary>
    public Span<float> Values => sum;

    /// <summary>Starts anew.</summary>
    public void Clear() => sum.AsSpan().Clear();

    /// <summary>Adds <c>weight*gradient</c>; with weight 1/N over N equal micro-batches the sum is the batch's mean gradient.</summary>
    /// <exception cref="ArgumentException">A span of another length.</exception>
    public void Add(ReadOnlySpan<float> gradient, double weight)
    {
        if (gradient.Length != sum.Length)
            throw new ArgumentException($"expected a gradient of length {sum.Length}, got {gradient.Length}");
        TensorPrimitives.MultiplyAdd(gradient, (float)weight, sum, sum);
    }

    /// <summary>Limits the norm of the accumulated gradient; see <see cref="ClipByGlobalNorm(Span{float}, double)"/>.</summary>
    public double ClipByGlobalNorm(double maxNorm) => ClipByGlobalNorm(sum, maxNorm);

    /// <summary>Scales a gradient in place by <c>min(1, maxNorm/(norm + 1e-6))</c>, as PyTorch does.</summary>
    /// <param name="gradient">All parameters' gradient as one vector.</param>
    /// <param name="maxNorm">Largest Euclidean norm, &gt; 0; infinite only measures.</param>
    /// <returns>The norm before clipping.</returns>
    /// <exception cref="UserError">The norm is NaN or infinite.</exception>
    public static double ClipByGlobalNorm(Span<float> gradient, double maxNorm)
    {
        var norm = Norm(gradient);
        if (!double.IsFinite(norm))
            throw new UserError($"gradient: expected a finite norm, got {norm}; lower the learning rate, or look for a reward or model "
                + $"output that overflows");
        var scale = maxNorm / (norm + 1e-6);
        if (scale < 1)
            TensorPrimitives.Multiply(gradient, (float)scale, gradient);
        return norm;
    }

    /// <summary>Euclidean norm, squares summed in double across blocks.</summary>
    public static double Norm(ReadOnlySpan<float> gradient)
    {
        var squares = 0.0;
        for (var i = 0; i < gradient.Length; i += BlockLength)
            squares += TensorPrimitives.SumOfSquares(gradient.Slice(i, Math.Min(BlockLength, gradient.Length - i)));
        return Math.Sqrt(squares);
    }
}
