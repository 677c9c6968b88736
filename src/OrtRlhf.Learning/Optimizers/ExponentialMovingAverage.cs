using System.Numerics.Tensors;
using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>
/// Exponential moving average of parameters, <c>ema = d*ema + (1-d)*p</c>, with <c>d = min(decay, (1+k)/(10+k))</c> at update k = 1, 2, ...
/// when warming up, so that the first values do not linger.
/// </summary>
public sealed class ExponentialMovingAverage
{
    private readonly double decay;
    private readonly bool warmUp;
    private readonly float[] average;
    private int updates;

    /// <summary>Starts at the given parameters.</summary>
    /// <param name="parameters">Initial values, copied.</param>
    /// <param name="decay">d, in [0, 1).</param>
    /// <param name="warmUp">Whether early updates decay faster.</param>
    /// <exception cref="UserError">The decay is out of range.</exception>
    public ExponentialMovingAverage(ReadOnlySpan<float> parameters, double decay, bool warmUp = false)
    {
        new Faults("EMA").Expect(decay is >= 0 and < 1, "decay", "[0, 1)", decay).Throw();
        (this.decay, this.warmUp, average) = (decay, warmUp, parameters.ToArray());
    }

    /// <summary>The average.</summary>
    public ReadOnlySpan<float> Values => average;

    /// <summary>Takes in the parameters after an optimizer step.</summary>
    /// <exception cref="ArgumentException">A span of another length.</exception>
    public void Update(ReadOnlySpan<float> parameters)
    {
        if (parameters.Length != average.Length)
            throw new ArgumentException($"expected {average.Length} parameters, got {parameters.Length}");
        updates++;
        var d = warmUp ? Math.Min(decay, (1.0 + updates) / (10 + updates)) : decay;
        TensorPrimitives.Lerp(average, parameters, (float)(1 - d), average);
    }

    /// <summary>Copies of the state for a checkpoint: <c>ema</c> and <c>ema_updates</c> (one number).</summary>
    public IReadOnlyDictionary<string, float[]> Snapshot() =>
        new Dictionary<string, float[]> { ["ema"] = [.. average], ["ema_updates"] = [updates] };

    /// <summary>Replaces the state by a snapshot.</summary>
    /// <exception cref="UserError">A tensor is missing or of another length.</exception>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot)
    {
        var count = OptimizerState.Take(snapshot, "ema_updates", 1);
        OptimizerState.Take(snapshot, "ema", average.Length).CopyTo(average, 0);
        updates = (int)count[0];
    }
}
