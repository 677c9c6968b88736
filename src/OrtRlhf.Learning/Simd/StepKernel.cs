using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace OrtRlhf.Learning.Simd;

/// <summary>
/// Sums of <c>(x' - mu)^2</c>, <c>mu = cX*x + cM*m</c>, over spans of one length: in float within a block of 1024 elements,
/// in double across blocks (a float sum over 262,144 elements would be off by 1e-6 relative).
/// </summary>
internal static class StepKernel
{
    private const int BlockLength = 1024;

    /// <summary>The sum for a given x'.</summary>
    public static double SumSquares(ReadOnlySpan<float> x, ReadOnlySpan<float> m, ReadOnlySpan<float> next, float cX, float cM)
    {
        ref var rx = ref MemoryMarshal.GetReference(x);
        ref var rm = ref MemoryMarshal.GetReference(m);
        ref var rn = ref MemoryMarshal.GetReference(next);
        var sum = 0.0;
        for (var start = 0; start < x.Length; start += BlockLength)
        {
            var end = (nuint)Math.Min(x.Length, start + BlockLength);
            var i = (nuint)start;
            sum += Vector512.IsHardwareAccelerated
                ? Squares<Lanes512>(ref rx, ref rm, ref rn, cX, cM, ref i, end)
                : Squares<LanesNative>(ref rx, ref rm, ref rn, cX, cM, ref i, end);
            sum += Squares<LaneSingle>(ref rx, ref rm, ref rn, cX, cM, ref i, end);
        }
        return sum;
    }

    /// <summary>Writes <c>x' = mu + sigma*z</c> and gives the sum for it; x' may be any of the inputs.</summary>
    public static double Advance(
        ReadOnlySpan<float> x, ReadOnlySpan<float> m, ReadOnlySpan<float> z, Span<float> next, float cX, float cM, float sigma)
    {
        ref var rx = ref MemoryMarshal.GetReference(x);
        ref var rm = ref MemoryMarshal.GetReference(m);
        ref var rz = ref MemoryMarshal.GetReference(z);
        ref var rn = ref MemoryMarshal.GetReference(next);
        var sum = 0.0;
        for (var start = 0; start < x.Length; start += BlockLength)
        {
            var end = (nuint)Math.Min(x.Length, start + BlockLength);
            var i = (nuint)start;
            sum += Vector512.IsHardwareAccelerated
                ? Advance<Lanes512>(ref rx, ref rm, ref rz, ref rn, cX, cM, sigma, ref i, end)
                : Advance<LanesNative>(ref rx, ref rm, ref rz, ref rn, cX, cM, sigma, ref i, end);
            sum += Advance<LaneSingle>(ref rx, ref rm, ref rz, ref rn, cX, cM, sigma, ref i, end);
        }
        return sum;
    }

    // Both loops add the same numbers in the same order, so that a step and its later re-evaluation agree to the last bit.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Squares<T>(ref float x, ref float m, ref float next, float cX, float cM, ref nuint start, nuint end)
        where T : struct, ILanes<T>
    {
        var (vX, vM, n, i) = (T.Broadcast(cX), T.Broadcast(cM), (nuint)T.Count, start);
        T sum0 = default, sum1 = default, sum2 = default, sum3 = default;
        for (; i + 4 * n <= end; i += 4 * n)
        {
            var d0 = T.Load(ref next, i) - T.Fma(vM, T.Load(ref m, i), vX * T.Load(ref x, i));
            var d1 = T.Load(ref next, i + n) - T.Fma(vM, T.Load(ref m, i + n), vX * T.Load(ref x, i + n));
            var d2 = T.Load(ref next, i + 2 * n) - T.Fma(vM, T.Load(ref m, i + 2 * n), vX * T.Load(ref x, i + 2 * n));
            var d3 = T.Load(ref next, i + 3 * n) - T.Fma(vM, T.Load(ref m, i + 3 * n), vX * T.Load(ref x, i + 3 * n));
            sum0 = T.Fma(d0, d0, sum0);
            sum1 = T.Fma(d1, d1, sum1);
            sum2 = T.Fma(d2, d2, sum2);
            sum3 = T.Fma(d3, d3, sum3);
        }
        for (; i + n <= end; i += n)
        {
            var d = T.Load(ref next, i) - T.Fma(vM, T.Load(ref m, i), vX * T.Load(ref x, i));
            sum0 = T.Fma(d, d, sum0);
        }
        start = i;
        return (sum0 + sum1 + (sum2 + sum3)).Sum();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Advance<T>(
        ref float x, ref float m, ref float z, ref float next, float cX, float cM, float sigma, ref nuint start, nuint end)
        where T : struct, ILanes<T>
    {
        var (vX, vM, vS, n, i) = (T.Broadcast(cX), T.Broadcast(cM), T.Broadcast(sigma), (nuint)T.Count, start);
        T sum0 = default, sum1 = default, sum2 = default, sum3 = default;
        for (; i + 4 * n <= end; i += 4 * n)
        {
            var mu0 = T.Fma(vM, T.Load(ref m, i), vX * T.Load(ref x, i));
            var mu1 = T.Fma(vM, T.Load(ref m, i + n), vX * T.Load(ref x, i + n));
            var mu2 = T.Fma(vM, T.Load(ref m, i + 2 * n), vX * T.Load(ref x, i + 2 * n));
            var mu3 = T.Fma(vM, T.Load(ref m, i + 3 * n), vX * T.Load(ref x, i + 3 * n));
            var next0 = T.Fma(vS, T.Load(ref z, i), mu0);
            var next1 = T.Fma(vS, T.Load(ref z, i + n), mu1);
            var next2 = T.Fma(vS, T.Load(ref z, i + 2 * n), mu2);
            var next3 = T.Fma(vS, T.Load(ref z, i + 3 * n), mu3);
            next0.Store(ref next, i);
            next1.Store(ref next, i + n);
            next2.Store(ref next, i + 2 * n);
            next3.Store(ref next, i + 3 * n);
            var (d0, d1, d2, d3) = (next0 - mu0, next1 - mu1, next2 - mu2, next3 - mu3);
            sum0 = T.Fma(d0, d0, sum0);
            sum1 = T.Fma(d1, d1, sum1);
            sum2 = T.Fma(d2, d2, sum2);
            sum3 = T.Fma(d3, d3, sum3);
        }
        for (; i + n <= end; i += n)
        {
            var mu = T.Fma(vM, T.Load(ref m, i), vX * T.Load(ref x, i));
            var value = T.Fma(vS, T.Load(ref z, i), mu);
            value.Store(ref next, i);
            var d = value - mu;
            sum0 = T.Fma(d, d, sum0);
        }
        start = i;
        return (sum0 + sum1 + (sum2 + sum3)).Sum();
    }
}
