using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Simd;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>Options of <see cref="AdamW"/>.</summary>
public sealed record AdamWOptions
{
    /// <summary>Decay of the first moment, [0, 1); default 0.9.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, [0, 1); default 0.999.</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to the root of the second moment, &gt; 0; default 1e-8.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled weight decay, at least 0; default 1e-4.</summary>
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("AdamW")
        .Expect(Beta1 is >= 0 and < 1, "beta1", "[0, 1)", Beta1)
        .Expect(Beta2 is >= 0 and < 1, "beta2", "[0, 1)", Beta2)
        .Expect(Epsilon > 0 && double.IsFinite(Epsilon), "epsilon", "a number > 0", Epsilon)
        .Expect(WeightDecay >= 0 && double.IsFinite(WeightDecay), "weight decay", "a number >= 0", WeightDecay)
        .Throw();
}

/// <summary>
/// AdamW (Loshchilov and Hutter 2019) on one contiguous vector of parameters, in one pass:
/// <c>p *= 1 - lr*wd</c>, <c>m = b1*m + (1-b1)*g</c>, <c>v = b2*v + (1-b2)*g^2</c>,
/// <c>p -= lr/(1-b1^k) * m/(sqrt(v)/sqrt(1-b2^k) + eps)</c>.
/// </summary>
public sealed class AdamW
{
    private readonly AdamWOptions options;
    private readonly float[] first;
    private readonly float[] second;

    /// <summary>Starts with zero moments.</summary>
    /// <param name="length">Number of parameters.</param>
    /// <param name="options">Options.</param>
    /// <exception cref="UserError">The options are out of range.</exception>
    public AdamW(int length, AdamWOptions options)
    {
        options.Validate();
        this.options = options;
        (first, second) = (new float[length], new float[length]);
    }

    /// <summary>k, the number of steps taken.</summary>
    public int StepCount { get; private set; }

    /// <summary>The first moment m.</summary>
    public ReadOnlySpan<float> FirstMoment => first;

    /// <summary>The second moment v.</summary>
    public ReadOnlySpan<float> SecondMoment => second;

    /// <summary>Takes one step.</summary>
    /// <param name="parameters">Changed in place.</param>
    /// <param name="gradients">Gradient of the loss to be minimised, already clipped.</param>
    /// <param name="learningRate">lr.</param>
    /// <exception cref="ArgumentException">Spans of other lengths than the optimizer's.</exception>
    public void Step(Span<float> parameters, ReadOnlySpan<float> gradients, double learningRate)
    {
        if (parameters.Length != first.Length || gradients.Length != first.Length)
            throw new ArgumentException($"expected spans of length {first.Length}, got {parameters.Length} and {gradients.Length}");
        StepCount++;
        var update = new Update(
            (float)(1 - learningRate * options.WeightDecay), (float)options.Beta1, (float)(1 - options.Beta1), (float)options.Beta2,
            (float)(1 - options.Beta2), (float)(1 / Math.Sqrt(1 - Math.Pow(options.Beta2, StepCount))), (float)options.Epsilon,
            (float)(-learningRate / (1 - Math.Pow(options.Beta1, StepCount))));
        ref var p = ref MemoryMarshal.GetReference(parameters);
        ref var g = ref MemoryMarshal.GetReference(gradients);
        nuint i = 0, end = (nuint)first.Length;
        ref var m = ref MemoryMarshal.GetArrayDataReference(first);
        ref var v = ref MemoryMarshal.GetArrayDataReference(second);
        if (Vector512.IsHardwareAccelerated)
            update.Apply<Lanes512>(ref p, ref g, ref m, ref v, ref i, end);
        else
            update.Apply<LanesNative>(ref p, ref g, ref m, ref v, ref i, end);
        update.Apply<LaneSingle>(ref p, ref g, ref m, ref v, ref i, end);
    }

    /// <summary>Copies of the state for a checkpoint: <c>step</c> (one number), <c>exp_avg</c> (m), <c>exp_avg_sq</c> (v).</summary>
    public IReadOnlyDictionary<string, float[]> Snapshot() => new Dictionary<string, float[]>
    {
        ["step"] = [StepCount],
        ["exp_avg"] = [.. first],
        ["exp_avg_sq"] = [.. second],
    };

    /// <summary>Replaces the state by a snapshot.</summary>
    /// <exception cref="UserError">A tensor is missing or of another length.</exception>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot)
    {
        var step = OptimizerState.Take(snapshot, "step", 1);
        var (m, v) = (OptimizerState.Take(snapshot, "exp_avg", first.Length), OptimizerState.Take(snapshot, "exp_avg_sq", second.Length));
        StepCount = (int)step[0];
        m.CopyTo(first, 0);
        v.CopyTo(second, 0);
    }

    private readonly record struct Update(
        float Keep, float Beta1, float Gain1, float Beta2, float Gain2, float Correction2, float Epsilon, float Rate)
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Apply<T>(ref float p, ref float g, ref float m, ref float v, ref nuint start, nuint end) where T : struct, ILanes<T>
        {
            var (keep, beta1, gain1, beta2, gain2) =
                (T.Broadcast(Keep), T.Broadcast(Beta1), T.Broadcast(Gain1), T.Broadcast(Beta2), T.Broadcast(Gain2));
            var (correction2, epsilon, rate) = (T.Broadcast(Correction2), T.Broadcast(Epsilon), T.Broadcast(Rate));
            for (; start + (nuint)T.Count <= end; start += (nuint)T.Count)
            {
                var gi = T.Load(ref g, start);
                var mi = T.Fma(gain1, gi, beta1 * T.Load(ref m, start));
                var vi = T.Fma(gain2 * gi, gi, beta2 * T.Load(ref v, start));
                var pi = T.Fma(rate, mi / T.Fma(T.Sqrt(vi), correction2, epsilon), keep * T.Load(ref p, start));
                mi.Store(ref m, start);
                vi.Store(ref v, start);
                pi.Store(ref p, start);
            }
        }
    }
}
