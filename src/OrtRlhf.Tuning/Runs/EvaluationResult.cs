namespace OrtRlhf.Tuning.Runs;

/// <summary>Scores of held-out images, one an image and in the order of the evaluation's requests.</summary>
/// <param name="Total">The trained reward of each image.</param>
/// <param name="Rewards">Every part of it and every watched reward, by name.</param>
/// <param name="Diversity">Difference between images of one prompt, see <see cref="OrtRlhf.Tuning.Rewards.ImageDiversity"/>; null when no prompt has two.</param>
/// <param name="Kl">KL to the base model in nats per element, mean over transitions; null for the base model, or without noise.</param>
public sealed record EvaluationResult(float[] Total, IReadOnlyDictionary<string, float[]> Rewards, double? Diversity, double? Kl);
