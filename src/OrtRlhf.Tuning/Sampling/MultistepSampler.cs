using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// Takes the steps of DPM-Solver++(2M) from noise to latents. The first noise is the one <see cref="Sampler"/> takes for the same request; there is no
/// other, so that no step has a log-probability.
/// </summary>
public static class MultistepSampler
{
    /// <summary>Samples one batch.</summary>
    /// <param name="denoiser">The policy.</param>
    /// <param name="table">The solver.</param>
    /// <param name="latent">Sizes of a latent.</param>
    /// <param name="requests">B requests.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <returns>Trajectories whose log-probabilities are NaN.</returns>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static Trajectory[] Sample(
        GuidedDenoiser denoiser, DpmSolverTable table, LatentSize latent, IReadOnlyList<SampleRequest> requests, CancellationToken cancellation = default)
    {
        var (length, steps) = (latent.Count, table.Rows.Count);
        var prompts = requests.Select(r => r.Prompt).ToArray();
        var trajectories = requests.Select(r => new Trajectory(r, new float[(steps + 1) * length], new double[steps])).ToArray();
        float[] x = new float[requests.Count * length], m = new float[x.Length], x0 = new float[x.Length];
        var timesteps = new long[requests.Count];
        foreach (var (i, trajectory) in trajectories.Index())
        {
            Sampler.Noise(trajectory.Request, RandomStep.InitialLatent).FillGaussian(x.AsSpan(i * length, length));
            trajectory.LogProbs.AsSpan().Fill(double.NaN);
        }
        Keep(0);
        for (var s = 0; s < steps; s++)
        {
            cancellation.ThrowIfCancellationRequested();
            timesteps.AsSpan().Fill(table.Rows[s].Timestep);
            denoiser.Run(x, timesteps, prompts, m);
            table.Step(s, x, m, x0);
            Keep(s + 1);
        }
        return trajectories;

        void Keep(int place)
        {
            for (var i = 0; i < trajectories.Length; i++) x.AsSpan(i * length, length).CopyTo(trajectories[i].Latents.AsSpan(place * length));
        }
    }
}
