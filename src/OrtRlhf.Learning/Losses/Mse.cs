using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Learning.Losses;

/// <summary>
/// The denoising loss that diffusion models are trained with (Ho et al. 2020, equation 14): <c>loss = mean (m - target)^2</c>, over all
/// elements of
/// all samples, each times its weight where they have one. With a flow's velocity as the target it is flow matching. Supervised fine-tuning
/// on chosen images is this loss.
/// </summary>
public static class Mse
{
    /// <summary>Writes the loss into the graph of the model's output.</summary>
    /// <param name="errors">Output and target; a reference takes no part.</param>
    /// <returns>The loss; there are no metrics beside it.</returns>
    public static TrainingLoss Loss(DenoisingErrors errors) =>
        new(errors.Weight is { } weight ? Mean(weight * errors.OfModel()) : Mean(Square(errors.Output - errors.Target)),
            new Dictionary<string, Value>());
}
