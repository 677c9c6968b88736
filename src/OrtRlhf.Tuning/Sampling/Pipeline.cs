using System.Numerics.Tensors;
using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>From prompts to images: text encoder, guided denoiser with adapters, sampler table, decoder; loaded once.</summary>
public sealed class Pipeline : IDisposable
{
    private readonly Policy _policy;
    private readonly GuidedDenoiser _denoiser;
    private readonly LatentDecoder _decoder;
    private readonly SamplerTable? _table;
    private readonly DpmSolverTable? _solver;

    /// <summary>Loads the parts.</summary>
    /// <param name="policy">The model and its adapters; stays the caller's.</param>
    /// <param name="options">How to sample.</param>
    /// <param name="settings">Device and threads.</param>
    /// <exception cref="UserError">A part cannot be read or run.</exception>
    public Pipeline(Policy policy, SamplingOptions options, SessionSettings settings)
    {
        (_policy, Options) = (policy, options);
        if (options.Sampler == SamplerKind.DpmSolver) _solver = DpmSolverTable.Build(policy.Model.Scheduler, options.Steps);
        else _table = DdimTable.Build(policy.Model.Scheduler, options.Steps, options.Eta);
        Text = new TextEmbeddings(policy.Model, settings);
        _denoiser = new GuidedDenoiser(policy.Denoiser("batch").Graph, policy.Adapters, policy.Model.Latent, Text, options.GuidanceScale, settings);
        _decoder = new LatentDecoder(policy.Model, settings);
    }

    /// <summary>How it samples.</summary>
    public SamplingOptions Options { get; }

    /// <summary>The sampler's steps.</summary>
    /// <exception cref="UserError">The sampler is a solver of several steps, which is no table of Gaussian steps.</exception>
    public SamplerTable Table => _table ?? throw new UserError($"sampler ({SamplerName}): its steps have no density, and nothing can be trained on them; use --sampler ddim with --eta above 0");

    /// <summary>The sampler and its settings in a few words.</summary>
    public string SamplerName => _table?.Name ?? _solver!.Name;

    /// <summary>Embeddings of the prompts met so far.</summary>
    public TextEmbeddings Text { get; }

    /// <summary>Samples images, in batches, in the order of the requests.</summary>
    /// <param name="requests">Prompts and keys of the noise.</param>
    /// <param name="progress">Told the number of images done.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <exception cref="UserError">The model's numbers are not finite.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public SampledImage[] Sample(IReadOnlyList<SampleRequest> requests, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        Text.Add(requests.Select(r => r.Prompt));
        var result = new List<SampledImage>(requests.Count);
        foreach (var batch in requests.Chunk(Options.BatchSize))
        {
            var trajectories = _table is { } table
                ? Sampler.Sample(_denoiser, table, _policy.Model.Latent, batch, cancellation)
                : MultistepSampler.Sample(_denoiser, _solver!, _policy.Model.Latent, batch, cancellation);
            if (Array.Find(trajectories, t => !float.IsFinite(TensorPrimitives.Sum(t.Latent(t.Steps).Span))) is { } broken)
                throw new UserError($"model '{_policy.Model.Name}': drew numbers that are not finite for \"{broken.Request.Prompt}\", seed {broken.Request.Seed}; its weights or adapters are damaged, or the guidance scale is too large");
            var images = _decoder.Decode([.. trajectories.Select(t => t.Latent(t.Steps))]);
            result.AddRange(trajectories.Zip(images, (t, image) => new SampledImage(t, image)));
            progress?.Invoke(result.Count);
        }
        return [.. result];
    }

    /// <summary>
    /// KL divergence of the policy to the base model at the latents that trajectories passed, in nats per element, as a mean over
    /// transitions: <c>cM^2 mean[(m - mBase)^2]/(2 sigma^2)</c>; NaN without a step that has a density.
    /// </summary>
    /// <param name="trajectories">Trajectories of the policy.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public double Kl(IReadOnlyList<Trajectory> trajectories, CancellationToken cancellation = default)
    {
        if (_table is null) return double.NaN;
        var length = _policy.Model.Latent.Count;
        var (sum, count) = (0.0, 0);
        foreach (var batch in trajectories.Chunk(Options.BatchSize))
        {
            var prompts = batch.Select(t => t.Request.Prompt).ToArray();
            var timesteps = new long[batch.Length];
            float[] x = new float[batch.Length * length], m = new float[x.Length], reference = new float[x.Length];
            foreach (var s in Table.StepsWithDensity)
            {
                cancellation.ThrowIfCancellationRequested();
                var step = Table.Steps[s];
                timesteps.AsSpan().Fill(step.Timestep);
                for (var i = 0; i < batch.Length; i++) batch[i].Latent(s).Span.CopyTo(x.AsSpan(i * length));
                _denoiser.Run(x, timesteps, prompts, m);
                _policy.AsBase(() => _denoiser.Run(x, timesteps, prompts, reference));
                for (var i = 0; i < batch.Length; i++)
                    sum += GaussianLogProb.Kl(m.AsSpan(i * length, length), reference.AsSpan(i * length, length), step);
                count += batch.Length;
            }
        }
        return count == 0 ? double.NaN : sum / count;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _denoiser.Dispose();
        _decoder.Dispose();
        Text.Dispose();
    }
}
