using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// Takes the steps of a table, <c>x' = cX*x + cM*m + sigma*z</c>, from noise to latents, and keeps the paths. Noise is keyed by
/// (seed, epoch, sample, step): a sample does not depend on those it shares a batch with, but for rounding.
/// </summary>
public static class Sampler
{
    /// <summary>Samples one batch.</summary>
    /// <param name="denoiser">The policy.</param>
    /// <param name="table">The sampler.</param>
    /// <param name="latent">Sizes of a latent.</param>
    /// <param name="requests">B requests.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static Trajectory[] Sample(
        GuidedDenoiser denoiser, SamplerTable table, LatentSize latent, IReadOnlyList<SampleRequest> requests, CancellationToken cancellation = default)
    {
        var (count, length, steps) = (requests.Count, latent.Count, table.Steps.Count);
        var prompts = requests.Select(r => r.Prompt).ToArray();
        var trajectories = requests.Select(r => new Trajectory(r, new float[(steps + 1) * length], new double[steps])).ToArray();
        var (x, m, z, timesteps) = (new float[count * length], new float[count * length], new float[length], new long[count]);
        for (var i = 0; i < count; i++)
        {
            Noise(requests[i], RandomStep.InitialLatent).FillGaussian(x.AsSpan(i * length, length));
            x.AsSpan(i * length, length).CopyTo(trajectories[i].Latents);
        }
        for (var s = 0; s < steps; s++)
        {
            cancellation.ThrowIfCancellationRequested();
            var step = table.Steps[s];
            timesteps.AsSpan().Fill(step.Timestep);
            denoiser.Run(x, timesteps, prompts, m);
            for (var i = 0; i < count; i++)
            {
                var xi = x.AsSpan(i * length, length);
                var mi = m.AsSpan(i * length, length);
                if (step.HasDensity) Noise(requests[i], (uint)s).FillGaussian(z);
                else z.AsSpan().Clear();
                if (table.Clips is { } clips)
                {
                    GaussianLogProb.AdvanceClipped(xi, mi, z, step, clips[s], xi);
                    trajectories[i].LogProbs[s] = double.NaN;
                }
                else trajectories[i].LogProbs[s] = GaussianLogProb.Advance(xi, mi, z, step, xi);
                xi.CopyTo(trajectories[i].Latents.AsSpan((s + 1) * length));
            }
        }
        return trajectories;
    }

    /// <summary>The random numbers of a step of a request.</summary>
    internal static Philox Noise(SampleRequest request, uint step) => new(request.Seed, request.Epoch, request.Sample, step);
}
