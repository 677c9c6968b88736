using OrtRlhf.Diffusion.Models;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

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
    /// <param name="keepSteps">Whether trajectories hold all latents and log-probabilities, or the last latent alone.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static Trajectory[] Sample(
        GuidedDenoiser denoiser, SamplerTable table, LatentSize latent, IReadOnlyList<SampleRequest> requests, bool keepSteps = true,
            CancellationToken cancellation = default)
    {
        var (count, length, steps) = (requests.Count, latent.Count, table.Steps.Count);
        var prompts = requests.Select(r => r.Prompt).ToArray();
        var trajectories = requests.Select(r =>
            Trajectory.Begin(r, length, keepSteps ? steps : 0) with { Table = keepSteps ? table : null }).ToArray();
        var (x, m, z, timesteps) = (new float[count * length], new float[count * length], new float[length], new double[count]);
        for (var i = 0; i < count; i++)
        {
            InitialNoise(requests[i]).FillGaussian(x.AsSpan(i * length, length));
            x.AsSpan(i * length, length).CopyTo(trajectories[i].Latents);
        }
        for (var s = 0; s < steps; s++)
        {
            cancellation.ThrowIfCancellationRequested();
            var step = table.Steps[s];
            timesteps.AsSpan().Fill(step.Time);
            denoiser.Run(x, timesteps, prompts, m);
            for (var i = 0; i < count; i++)
            {
                var xi = x.AsSpan(i * length, length);
                var mi = m.AsSpan(i * length, length);
                if (step.HasDensity) Noise(requests[i], (uint)s).FillGaussian(z);
                else z.AsSpan().Clear();
                var logp = double.NaN;
                if (table.Clips is { } clips) GaussianLogProb.AdvanceClipped(xi, mi, z, step, clips[s], xi);
                else logp = GaussianLogProb.Advance(xi, mi, z, step, xi);
                xi.CopyTo(trajectories[i].Latents.AsSpan(keepSteps ? (s + 1) * length : 0));
                if (keepSteps) trajectories[i].LogProbs[s] = logp;
            }
        }
        return trajectories;
    }

    /// <summary>The random numbers that a request begins from.</summary>
    internal static Philox InitialNoise(SampleRequest request) =>
        Noise(request with { Sample = request.InitialNoise ?? request.Sample }, RandomStep.InitialLatent);

    /// <summary>The random numbers of a step of a request.</summary>
    internal static Philox Noise(SampleRequest request, uint step) => new(request.Seed, request.Epoch, request.Sample, step);
}
