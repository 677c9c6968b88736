namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The one exception to linear means: diffusers' <c>clip_sample</c> clamps the predicted clean sample to [-range, range]
/// before it enters the mean, <c>mean = cX*x + cM*m + weight*(clamp(x0) - x0)</c> with <c>x0 = x0X*x + x0M*m</c>.
/// The noise term keeps the unclamped prediction, as diffusers does by default.
/// A clamped step is meant for evaluation: the training expressions are linear, so policy gradients refuse it
/// (<see cref="SamplerTable.RequireDensity"/>).
/// </summary>
/// <param name="X0X">Weight of the latent in the predicted clean sample.</param>
/// <param name="X0M">Weight of the model's output in the predicted clean sample.</param>
/// <param name="Weight">Weight of the predicted clean sample in the step's mean.</param>
/// <param name="Range">Half width of the interval, in units of the latent; diffusers' <c>clip_sample_range</c>.</param>
public readonly record struct X0Clip(double X0X, double X0M, double Weight, double Range);
