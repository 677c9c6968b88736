using OrtRlhf.Diffusion.Models;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>
/// Takes the steps of a solver that looks back (DPM-Solver++(2M), of flows Adams-Bashforth) from noise to latents. The first noise is the
/// one <see cref="Sampler"/> takes for the same request; there is no
/// other, so that no step has a log-probability.
/// </summary>
public static class MultistepSampler
{
    /// <summary>Samples one batch.</summary>
    /// <param name="denoiser">The policy.</param>
    /// <param name="table">The solver.</param>
    /// <param name="latent">Sizes of a latent.</param>
    /// <param name="requests">B requests.</param>
    /// <param name="keepSteps">Whether trajectories hold all latents, or the last alone.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <returns>Trajectories whose log-probabilities are NaN.</returns>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static Trajectory[] Sample(
        GuidedDenoiser denoiser, DpmSolverTable table, LatentSize latent, IReadOnlyList<SampleRequest> requests, bool keepSteps = true,
            CancellationToken cancellation = default)
    {
        var (length, steps) = (latent.Count, table.Rows.Count);
        var prompts = requests.Select(r => r.Prompt).ToArray();
        var trajectories = requests.Select(r => Trajectory.Begin(r, length, keepSteps ? steps : 0)).ToArray();
        float[] x = new float[requests.Count * length], m = new float[x.Length], x0 = new float[x.Length];
        var timesteps = new double[requests.Count];
        foreach (var (i, trajectory) in trajectories.Index())
        {
            Sampler.InitialNoise(trajectory.Request).FillGaussian(x.AsSpan(i * length, length));
            trajectory.LogProbs.AsSpan().Fill(double.NaN);
        }
        Keep(0);
        for (var s = 0; s < steps; s++)
        {
            cancellation.ThrowIfCancellationRequested();
            timesteps.AsSpan().Fill(table.Rows[s].Time);
            denoiser.Run(x, timesteps, prompts, m);
            table.Step(s, x, m, x0);
            if (keepSteps) Keep(s + 1);
        }
        if (!keepSteps) Keep(0);
        return trajectories;

        void Keep(int place)
        {
            for (var i = 0; i < trajectories.Length; i++) x.AsSpan(i * length, length)
                .CopyTo(trajectories[i].Latents.AsSpan(place * length));
        }
    }
}
