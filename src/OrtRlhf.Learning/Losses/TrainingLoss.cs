using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Losses;

/// <summary>What an algorithm writes into a training graph.</summary>
/// <param name="Loss">The scalar to be minimised.</param>
/// <param name="Metrics">Further outputs by name: scalars, or one number a sample ([B]) where the name says so.</param>
public sealed record TrainingLoss(Value Loss, IReadOnlyDictionary<string, Value> Metrics);
