using OrtRlhf.Graph;

namespace OrtRlhf.Tuning.Training;

/// <summary>
/// The factor on a loss whose gradients flow back through half-precision activations: so large that small gradients do not vanish below
/// 6e-8, halved whenever one
/// overflows 65504, doubled after <see cref="GrowthInterval"/> runs without. Source: Micikevicius et al., 2018. Departure: a micro-batch
/// that overflows is
/// taken again with half the factor, rather than left out, so that the factor changes rounding only.
/// </summary>
internal sealed class LossScale
{
    /// <summary>Runs without overflow before the factor is doubled.</summary>
    public const int GrowthInterval = 500;

    private const double Initial = 65536, Most = 1 << 24, Least = 1.0 / 1024;
    private int _since;

    /// <summary>The factor, a power of two.</summary>
    public double Value { get; private set; } = Initial;

    /// <summary>Begins anew, as at the start of each epoch: a resumed run meets the same factors.</summary>
    public void Reset() => (Value, _since) = (Initial, 0);

    /// <summary>Takes note of a run.</summary>
    /// <param name="isFinite">Whether all its gradients were finite.</param>
    /// <returns>Whether it counts; else it is to be taken again.</returns>
    /// <exception cref="UserError">Gradients overflow whatever the factor: the model's own numbers do.</exception>
    public bool Accept(bool isFinite)
    {
        if (!isFinite)
        {
            (Value, _since) = (Value / 2, 0);
            return Value >= Least ? false
                : throw new UserError("`Dtype` fp16: the model's numbers overflow half precision whatever the loss scale; use `Dtype` "
                    + "fp32, or lower `LearningRate`; the last checkpoint is intact");
        }
        if (++_since == GrowthInterval) (Value, _since) = (Math.Min(Most, 2 * Value), 0);
        return true;
    }
}
