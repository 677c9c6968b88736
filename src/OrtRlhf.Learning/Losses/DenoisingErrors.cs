using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>
/// What a denoiser made of B noisy samples and what it should have made of them, as values of a training graph: the errors that
/// <see cref="Mse"/>, <see cref="Dpo"/>, <see cref="Ipo"/> and <see cref="Kto"/> are made of.
/// </summary>
/// <param name="Output">m, the model's output, [B, C, H, W].</param>
/// <param name="Target">The noise that was added, the velocity (of a flow: noise - x0) or the clean sample, as the model predicts, [B, C,
/// H, W].</param>
/// <param name="Reference">The reference model's output for the same inputs, [B, C, H, W]; null where a loss needs none.</param>
/// <param name="Weight">How much each sample counts in a mean over all, at least 0, [B]; both sides of a pair have the same. Null where all
/// count alike.</param>
public sealed record DenoisingErrors(Value Output, Value Target, Value? Reference = null, Value? Weight = null)
{
    /// <summary>Declares the target as an input <c>target</c>, float [B, C, H, W].</summary>
    /// <param name="output">m, with a static shape.</param>
    /// <param name="reference">The reference's output, computed in the same graph; null for none.</param>
    /// <param name="weighted">Whether samples have weights: an input <c>weight</c>, float [B].</param>
    public static DenoisingErrors Inputs(Value output, Value? reference = null, bool weighted = false) => new(
        output, output.Graph.Input("target", ElementType.Float, [.. output.Sizes.Select(size => (Dim)size)]), reference,
        weighted ? output.Graph.Input("weight", ElementType.Float, output.Sizes[0]) : null);

    /// <summary>B, the number of samples.</summary>
    public long Batch => Output.Sizes[0];

    /// <summary><c>L = mean[(m - target)^2]</c> over the elements of each sample, [B].</summary>
    public Value OfModel() => MeanPerSample(Square(Output - Target));

    /// <summary>The same of the reference, [B].</summary>
    /// <exception cref="InvalidOperationException">There is no reference.</exception>
    public Value OfReference() => Reference is null
        ? throw new InvalidOperationException("the errors have no reference output")
        : MeanPerSample(Square(Reference - Target));

    /// <summary>
    /// <c>L_ref - L</c>, [B]: how much better the model has become at denoising each sample. Half of beta times it is the implicit reward
    /// of
    /// Diffusion-DPO. Small differences of large numbers: beta makes single precision visible.
    /// </summary>
    /// <exception cref="InvalidOperationException">There is no reference.</exception>
    public Value Gain() => OfReference() - OfModel();

    /// <summary>The metrics of a loss with a reference: <c>mse</c> and <c>reference_mse</c>, means of both errors.</summary>
    internal Dictionary<string, Value> Metrics() => new() { ["mse"] = Mean(OfModel()), ["reference_mse"] = Mean(OfReference()) };
}
