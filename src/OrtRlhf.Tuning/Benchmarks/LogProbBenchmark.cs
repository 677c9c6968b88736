using System.Diagnostics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>Speed of <see cref="GaussianLogProb.OfStep"/> on one thread beside that of only reading the same memory.</summary>
/// <param name="Elements">Elements of a latent; the kernel reads three of them, 12 bytes an element.</param>
/// <param name="WorkingSetBytes">Bytes that both read.</param>
/// <param name="GigabytesPerSecond">The kernel's, median of the better of two.</param>
/// <param name="ReadGigabytesPerSecond">Of a plain sum, median of the faster of two ways to write it.</param>
/// <param name="ShareOfRead">Kernel over read, median of ratios taken pair by pair.</param>
public sealed record LogProbTiming(int Elements, long WorkingSetBytes, double GigabytesPerSecond, double ReadGigabytesPerSecond,
    double ShareOfRead);

/// <summary>Times the log-prob kernel against the bandwidth of the cache that its operands lie in.</summary>
public static class LogProbBenchmark
{
    /// <summary>A latent of Stable Diffusion, 4x64x64 (192 KiB with all operands: level 2), and sixteen (3 MiB: level 3).</summary>
    public static IReadOnlyList<int> Sizes { get; } = [16_384, 262_144];

    /// <summary>Times one size, for about <paramref name="rounds"/> times 20 ms.</summary>
    /// <param name="elements">Elements of a latent.</param>
    /// <param name="rounds">Pairs of timings, at least 1.</param>
    public static LogProbTiming Run(int elements, int rounds = 40)
    {
        float[] x = Noise(elements, 0), m = Noise(elements, 1), next = Noise(elements, 2);
        var step = new GaussianStep(500, 0.98, -0.1, 0.2);
        var bytes = 3L * sizeof(float) * elements;
        var sink = 0.0;
        var passes = (int)Math.Max(1, 100_000_000 / bytes); // some 5 ms

        void Kernel() => sink += GaussianLogProb.OfStep(x, m, next, step);
        void Read() => sink += Sum(x) + Sum(m) + Sum(next);
        void ReadByLibrary() => sink += TensorPrimitives.Sum<float>(x) + TensorPrimitives.Sum<float>(m) + TensorPrimitives.Sum<float>(next);

        // Code is compiled anew, and better, while it is warm: let that happen first.
        for (var i = 0; i < 5; i++)
        {
            foreach (var run in (Action[])[Kernel, Read, ReadByLibrary]) Rate(run, passes, bytes);
            Thread.Sleep(100);
        }
        var pairs = new (double Kernel, double Read)[rounds];
        foreach (ref var pair in pairs.AsSpan())
        {
            var (kernel, read) = (Rate(Kernel, passes, bytes), Rate(Read, passes, bytes));
            pair = (Math.Max(kernel, Rate(Kernel, passes, bytes)), Math.Max(read, Rate(ReadByLibrary, passes, bytes)));
        }
        if (double.IsNaN(sink)) throw new InvalidOperationException("the log-prob of finite numbers is not a number");
        return new LogProbTiming(elements, bytes,
            Timings.Median([.. pairs.Select(p => p.Kernel)]), Timings.Median([.. pairs.Select(p => p.Read)]),
                Timings.Median([.. pairs.Select(p => p.Kernel / p.Read)]));
    }

    private static float[] Noise(int count, uint key)
    {
        var values = GC.AllocateUninitializedArray<float>(count);
        new Philox(1, 0, key, 0).FillGaussian(values);
        return values;
    }

    /// <summary>Gigabytes (1e9) a second.</summary>
    private static double Rate(Action run, int passes, long bytes)
    {
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < passes; i++) run();
        return passes * bytes / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e9;
    }

    // Eight sums, so that additions do not wait for each other and only loads limit the speed.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float[] values)
    {
        ref var v = ref MemoryMarshal.GetArrayDataReference(values);
        Vector256<float> s0 = default, s1 = default, s2 = default, s3 = default, s4 = default, s5 = default, s6 = default, s7 = default;
        nuint i = 0, end = (nuint)values.Length;
        for (; i + 64 <= end; i += 64)
        {
            s0 += Vector256.LoadUnsafe(ref v, i);
            s1 += Vector256.LoadUnsafe(ref v, i + 8);
            s2 += Vector256.LoadUnsafe(ref v, i + 16);
            s3 += Vector256.LoadUnsafe(ref v, i + 24);
            s4 += Vector256.LoadUnsafe(ref v, i + 32);
            s5 += Vector256.LoadUnsafe(ref v, i + 40);
            s6 += Vector256.LoadUnsafe(ref v, i + 48);
            s7 += Vector256.LoadUnsafe(ref v, i + 56);
        }
        var sum = Vector256.Sum(s0 + s1 + (s2 + s3) + (s4 + s5 + (s6 + s7)));
        for (; i < end; i++) sum += Unsafe.Add(ref v, i);
        return sum;
    }
}
