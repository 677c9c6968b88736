using OrtRlhf.Tuning.Sampling;

namespace OrtRlhf.Tuning.Methods;

/// <summary>One denoising step of a trajectory, to be trained on.</summary>
/// <param name="Trajectory">The trajectory.</param>
/// <param name="Step">Which of its steps.</param>
/// <param name="Advantage">The trajectory's advantage, clipped.</param>
public sealed record Transition(Trajectory Trajectory, int Step, float Advantage);
