using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Tuning.Training;

/// <summary>One denoising step of a trajectory, to be trained on.</summary>
/// <param name="Trajectory">The trajectory, of Gaussian steps.</param>
/// <param name="Step">Which of its steps.</param>
/// <param name="Advantage">The trajectory's advantage, clipped.</param>
public sealed record Transition(Trajectory Trajectory, int Step, float Advantage)
{
    /// <summary>The transition as inputs of a training graph, see <see cref="PolicyTransition.Inputs"/>.</summary>
    internal TrainingRow ToRow()
    {
        var step = (Trajectory.Table ?? throw new InvalidOperationException("the trajectory has no Gaussian steps")).Steps[Step];
        return new(new(Trajectory.Request.Prompt, Trajectory.Latent(Step), step.Time), ("next_sample", Trajectory.Latent(Step + 1)),
            TrainingRow.Number("c_x", step.CX), TrainingRow.Number("c_m", step.CM), TrainingRow.Number("sigma", step.Sigma),
            TrainingRow.Number("old_log_prob", Trajectory.LogProbs[Step]), TrainingRow.Number("advantage", Advantage),
                TrainingRow.Number("weight", 1));
    }
}
