using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>
/// Pairs of a preferred and a rejected sample in a batch of B: the first half of the batch are the preferred ones, the second half, in the
/// same order, the
/// rejected ones. Both sides of a pair of denoising errors have the same timestep and noise.
/// </summary>
internal static class PreferencePairs
{
    /// <summary>What the preferred sample has more of than the rejected one, [B/2] of [B].</summary>
    /// <exception cref="UserError">The batch is odd.</exception>
    public static Value Difference(Value perSample, string method)
    {
        var batch = perSample.Sizes[0];
        return batch % 2 == 0 ? Preferred(perSample) - perSample.Slice(0, batch / 2, batch)
            : throw new UserError($"{method}: expected an even batch, the preferred samples first and then the rejected ones, got {batch}");
    }

    /// <summary>The preferred samples' half, [B/2] of [B].</summary>
    public static Value Preferred(Value perSample) => perSample.Slice(0, 0, perSample.Sizes[0] / 2);

    /// <summary>
    /// <c>h = ((L_ref_w - L_w) - (L_ref_l - L_l)) / 2</c> of each pair, [B/2]: minus half of Diffusion-DPO's inner difference.
    /// </summary>
    /// <exception cref="UserError">The batch is odd.</exception>
    public static Value Margin(DenoisingErrors errors, string method) => Difference(errors.Gain(), method) * 0.5;

    /// <summary>The mean loss of pairs, each times its weight.</summary>
    public static Value MeanLoss(DenoisingErrors errors, Value perPair) =>
        Mean(errors.Weight is { } weight ? Preferred(weight) * perPair : perPair);

    /// <summary>The metrics <c>mse</c>, <c>reference_mse</c>, <c>margin</c> (mean h), <c>accuracy</c> (share of h &gt; 0).</summary>
    public static Dictionary<string, Value> Metrics(DenoisingErrors errors, Value margin)
    {
        var metrics = errors.Metrics();
        AddMetrics(metrics, margin);
        return metrics;
    }

    /// <summary>Adds the metrics <c>margin</c>, its mean, and <c>accuracy</c>, the share of pairs where it is positive.</summary>
    public static void AddMetrics(Dictionary<string, Value> metrics, Value margin)
    {
        metrics["margin"] = Mean(margin);
        metrics["accuracy"] = Mean(Cast(Greater(margin, margin.Graph.Scalar(margin.Type, 0)), ElementType.Float));
    }
}
