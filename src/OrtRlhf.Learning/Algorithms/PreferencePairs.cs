using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Algorithms;

/// <summary>
/// Pairs of a preferred and a rejected sample among B denoising errors: the first half of the batch are the preferred ones, the second half, in the
/// same order, the rejected ones; both sides of a pair have the same timestep and noise.
/// </summary>
internal static class PreferencePairs
{
    /// <summary>
    /// <c>h = ((L_ref_w - L_w) - (L_ref_l - L_l)) / 2</c> of each pair, [B/2]: minus half of Diffusion-DPO's inner difference.
    /// </summary>
    /// <exception cref="UserError">The batch is odd.</exception>
    public static Value Margin(DenoisingErrors errors, string method)
    {
        var batch = errors.Batch;
        if (batch % 2 != 0)
            throw new UserError($"{method}: expected an even batch, the preferred samples first and then the rejected ones, got {batch}");
        var gain = errors.Gain();
        return (gain.Slice(0, 0, batch / 2) - gain.Slice(0, batch / 2, batch)) * 0.5;
    }

    /// <summary>The metrics <c>mse</c>, <c>reference_mse</c>, <c>margin</c> (mean h), <c>accuracy</c> (share of h &gt; 0).</summary>
    public static Dictionary<string, Value> Metrics(DenoisingErrors errors, Value margin)
    {
        var metrics = errors.Metrics();
        metrics["margin"] = Mean(margin);
        metrics["accuracy"] = Mean(Cast(Greater(margin, margin.Graph.Scalar(margin.Type, 0)), ElementType.Float));
        return metrics;
    }
}
