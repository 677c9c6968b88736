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
    private readonly WorkerPool<Worker> _workers;
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
        var scheduler = options.ClipSample is { } clips ? policy.Model.Scheduler with { ClipSample = clips } : policy.Model.Scheduler;
        if (options.Sampler == SamplerKind.DpmSolver) _solver = DpmSolverTable.Build(scheduler, options.Steps);
        else _table = options.Sampler == SamplerKind.Ddpm ? DdpmTable.Build(scheduler, options.Steps) : DdimTable.Build(scheduler, options.Steps, options.Eta);
        Text = new TextEmbeddings(policy.Model, settings, options.Sizes);
        var graph = policy.Denoiser("batch").Graph;
        var (each, count) = settings.Split(graph);
        _workers = new([.. Enumerable.Range(0, count).Select(_ => new Worker(
            new GuidedDenoiser(graph, policy.Adapters, policy.Model.Latent, Text, GuidanceScale, each), new LatentDecoder(policy.Model, each)))]);
    }

    /// <summary>How it samples.</summary>
    public SamplingOptions Options { get; }

    /// <summary>Sizes of a latent.</summary>
    public LatentSize Latent => _policy.Model.Latent;

    /// <summary>The guidance scale in use: 1 for a model without prompts.</summary>
    public double GuidanceScale => _policy.Model.IsConditional ? Options.GuidanceScale : 1;

    /// <summary>The sampler's steps.</summary>
    /// <exception cref="UserError">The sampler is a solver of several steps, which is no table of Gaussian steps.</exception>
    public SamplerTable Table => _table ?? throw new UserError($"sampler ({SamplerName}): its steps have no density, and nothing can be trained on them; use --sampler ddim with --eta above 0, or ddpm");

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
        var batches = requests.Chunk(_workers.Share(requests.Count, Options.BatchSize)).ToArray();
        var (result, done, gate) = (new SampledImage[batches.Length][], 0, new Lock());
        _workers.Run(batches.Length, (worker, i) =>
        {
            result[i] = Sample(worker, batches[i], cancellation);
            lock (gate) progress?.Invoke(done += batches[i].Length);
        });
        return [.. result.SelectMany(images => images)];
    }

    private SampledImage[] Sample(Worker worker, SampleRequest[] batch, CancellationToken cancellation)
    {
        var trajectories = _table is { } table
            ? Sampler.Sample(worker.Denoiser, table, _policy.Model.Latent, batch, cancellation)
            : MultistepSampler.Sample(worker.Denoiser, _solver!, _policy.Model.Latent, batch, cancellation);
        if (Array.Find(trajectories, t => !float.IsFinite(TensorPrimitives.Sum(t.Latent(t.Steps).Span))) is { } broken)
            throw new UserError($"model '{_policy.Model.Name}': drew numbers that are not finite for \"{broken.Request.Prompt}\", seed {broken.Request.Seed}; its weights or adapters are damaged, or the guidance scale is too large");
        return [.. trajectories.Zip(worker.Decoder.Decode([.. trajectories.Select(t => t.Latent(t.Steps))]), (t, image) => new SampledImage(t, image))];
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
        Text.Add(trajectories.Select(t => t.Request.Prompt));
        var (length, sum, count) = (_policy.Model.Latent.Count, 0.0, 0);
        // In groups that fit the workers, so that few outputs are kept until the base model's are there too.
        foreach (var group in trajectories.Chunk(_workers.Share(trajectories.Count, Options.BatchSize)).Chunk(_workers.Count))
        {
            cancellation.ThrowIfCancellationRequested();
            var policy = Outputs();
            var reference = Array.Empty<float[][]>();
            _policy.AsBase(() => reference = Outputs());
            foreach (var (batch, m, mBase) in group.Zip(policy, reference))
            {
                foreach (var (step, k) in Table.StepsWithDensity.Select((s, k) => (Table.Steps[s], k)))
                {
                    for (var i = 0; i < batch.Length; i++)
                        sum += GaussianLogProb.Kl(m[k].AsSpan(i * length, length), mBase[k].AsSpan(i * length, length), step);
                }
                count += batch.Length * Table.StepsWithDensity.Count;
            }

            float[][][] Outputs()
            {
                var outputs = new float[group.Length][][];
                _workers.Run(group.Length, (worker, b) => outputs[b] = [.. Table.StepsWithDensity.Select(s => Output(worker, group[b], s))]);
                return outputs;
            }
        }
        return count == 0 ? double.NaN : sum / count;

        float[] Output(Worker worker, Trajectory[] batch, int s)
        {
            cancellation.ThrowIfCancellationRequested();
            float[] x = new float[batch.Length * length], m = new float[x.Length];
            var timesteps = new long[batch.Length];
            timesteps.AsSpan().Fill(Table.Steps[s].Timestep);
            for (var i = 0; i < batch.Length; i++) batch[i].Latent(s).Span.CopyTo(x.AsSpan(i * length));
            worker.Denoiser.Run(x, timesteps, [.. batch.Select(t => t.Request.Prompt)], m);
            return m;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _workers.Dispose();
        Text.Dispose();
    }

    private sealed record Worker(GuidedDenoiser Denoiser, LatentDecoder Decoder) : IDisposable
    {
        public void Dispose()
        {
            Denoiser.Dispose();
            Decoder.Dispose();
        }
    }
}
