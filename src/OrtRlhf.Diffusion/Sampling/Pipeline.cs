using System.Numerics.Tensors;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>Where a denoiser is asked for its output.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="X">The latent [C*H*W].</param>
/// <param name="Time">The time, as in <see cref="GaussianStep.Time"/>.</param>
public readonly record struct NoisyLatent(string Prompt, ReadOnlyMemory<float> X, double Time);

/// <summary>From prompts to images: text encoder, guided denoiser with adapters, sampler table, decoder; loaded once.</summary>
public sealed class Pipeline : IDisposable
{
    private readonly Policy _policy;
    private readonly Lazy<TextEmbeddings> _baseText;
    private readonly WorkerPool<Worker> _workers;
    private readonly bool _isView;

    /// <summary>Loads the parts.</summary>
    /// <param name="policy">The model and its adapters; stays the caller's.</param>
    /// <param name="options">How to sample.</param>
    /// <param name="settings">Device and threads.</param>
    /// <exception cref="UserError">A part cannot be read or run.</exception>
    public Pipeline(Policy policy, SamplingOptions options, SessionSettings settings)
    {
        (_policy, Options, Steps) = (policy, options, SamplerSteps.Of(policy.Model, options));
        Text = new TextEmbeddings(policy.Model, settings, options.Sizes, options.GuidanceScale);
        _baseText = new(() => new TextEmbeddings(policy.Base, settings, options.Sizes, options.GuidanceScale));
        IReadOnlyList<GraphSession> sessions = [];
        try
        {
            var graph = policy.Denoiser("batch", guided: GuidanceScale != 1).Graph;
            var (each, count) = settings.Split(graph, options.BatchSize);
            sessions = GraphSession.Load(graph, each, count);
            _workers = new([.. sessions.Zip(LatentDecoder.Load(policy.Model, each, count), (session, decoder) => new Worker(
                new GuidedDenoiser(session, policy.Adapters, policy.Model.Latent, Text, GuidanceScale) { TextNow = () => TextNow },
                    decoder))]);
        }
        catch
        {
            foreach (var session in sessions) session.Dispose();
            Text.Dispose();
            throw;
        }
    }

    private Pipeline(Pipeline loaded, SamplingOptions options)
    {
        (_policy, _workers, Text, _baseText, _isView) = (loaded._policy, loaded._workers, loaded.Text, loaded._baseText, true);
        (Options, Steps) = (options, SamplerSteps.Of(_policy.Model, options));
    }

    /// <summary>
    /// The same loaded parts with another sampler or other numbers of it; guidance and sizes stay. Lives as long as this one.
    /// </summary>
    /// <exception cref="UserError">The model cannot be sampled so.</exception>
    public Pipeline With(SamplingOptions options) => new(this, options);

    /// <summary>
    /// What divergences are measured on: itself, of a flow always Flow-GRPO's noisy steps, all of them, so that runs with other samplers,
    /// or with none that has a
    /// density, compare. (The last coefficient-preserving steps have next to no noise: divergences would be those steps' alone.)
    /// </summary>
    public Pipeline Noisy() =>
        _policy.Model.Flow is null ? this : With(Options with { Sampler = SamplerKind.FlowGrpo, NoiseLevel = null, NoiseWindow = null });

    /// <summary>How it samples.</summary>
    public SamplingOptions Options { get; }

    /// <summary>Sizes of a latent.</summary>
    public LatentSize Latent => _policy.Model.Latent;

    /// <summary>The sampler's steps.</summary>
    public SamplerSteps Steps { get; }

    /// <summary>The scale of classifier-free guidance in use: 1 for a model without prompts.</summary>
    public double GuidanceScale =>
        !_policy.Model.IsConditional ? 1 : _policy.Model.IsDistilled ? Options.TrueCfgScale : Options.GuidanceScale;

    /// <summary>The sampler's Gaussian steps.</summary>
    /// <exception cref="UserError">The sampler is a solver of several steps, which is no table of Gaussian steps.</exception>
    public SamplerTable Table => Steps.Table ?? throw new UserError(
        $"sampler ({SamplerName}): its steps have no density, and nothing can be trained on them; use `Sampler` "
            + $"{(_policy.Model.Flow is null ? "ddim with `Eta` above 0, or ddpm" : "flow-grpo, dance-grpo, cps or noisy-euler")}");

    /// <summary>The sampler and its settings in a few words.</summary>
    public string SamplerName => Steps.Name;

    /// <summary>Embeddings of the prompts met so far.</summary>
    public TextEmbeddings Text { get; }

    private TextEmbeddings TextNow => _policy is { IsBase: true, TextLayers.Count: > 0 } ? _baseText.Value : Text;

    /// <summary>Samples images, in batches, in the order of the requests.</summary>
    /// <param name="requests">Prompts and keys of the noise.</param>
    /// <param name="progress">Told the number of images done.</param>
    /// <param name="keepSteps">Whether trajectories hold all their steps, or the result alone.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <exception cref="UserError">The model's numbers are not finite.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public SampledImage[] Sample(IReadOnlyList<SampleRequest> requests, Action<int>? progress = null, bool keepSteps = true,
        CancellationToken cancellation = default)
    {
        TextNow.Add(requests.Select(r => r.Prompt));
        var batches = requests.Chunk(_workers.Share(requests.Count, Options.BatchSize)).ToArray();
        var (result, done, gate) = (new SampledImage[batches.Length][], 0, new Lock());
        _workers.Run(batches.Length, (worker, i) =>
        {
            result[i] = Sample(worker, batches[i], keepSteps, cancellation);
            lock (gate) progress?.Invoke(done += batches[i].Length);
        });
        return [.. result.SelectMany(images => images)];
    }

    private SampledImage[] Sample(Worker worker, SampleRequest[] batch, bool keepSteps, CancellationToken cancellation)
    {
        var trajectories = Steps.Table is { } table
            ? Sampler.Sample(worker.Denoiser, table, _policy.Model.Latent, batch, keepSteps, cancellation)
            : MultistepSampler.Sample(worker.Denoiser, Steps.Solver!, _policy.Model.Latent, batch, keepSteps, cancellation);
        if (Array.Find(trajectories, t => !float.IsFinite(TensorPrimitives.Sum(t.Latent(t.Steps).Span))) is { } broken)
            throw new UserError($"model '{_policy.Model.Name}': drew numbers that are not finite for \"{broken.Request.Prompt}\", seed "
                + $"{broken.Request.Seed}; its weights or adapters are damaged, or the guidance scale is too large");
        return [.. trajectories.Zip(worker.Decoder.Decode([.. trajectories.Select(t => t.Latent(t.Steps))]), (t, image) =>
            new SampledImage(t, image))];
    }

    /// <summary>
    /// KL divergence of the policy to the base model at the latents that trajectories passed, in nats per element, as a mean over
    /// transitions: <c>cM^2 mean[(m - mBase)^2]/(2 sigma^2)</c>; NaN without a step that has a density.
    /// </summary>
    /// <param name="trajectories">Trajectories of the policy.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public double Kl(IReadOnlyList<Trajectory> trajectories, CancellationToken cancellation = default)
    {
        if (Steps.Table is null) return double.NaN;
        Text.Add(trajectories.Select(t => t.Request.Prompt));
        var (length, sum, count) = (_policy.Model.Latent.Count, 0.0, 0);
        // In groups that fit the workers, so that few outputs are kept until the base model's are there too.
        foreach (var group in trajectories.Chunk(_workers.Share(trajectories.Count, Options.BatchSize)).Chunk(_workers.Count))
        {
            cancellation.ThrowIfCancellationRequested();
            var policy = Outputs();
            var reference = Array.Empty<float[][]>();
            _policy.AsBase(() =>
            {
                TextNow.Add(group.SelectMany(batch => batch).Select(t => t.Request.Prompt));
                reference = Outputs();
            });
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
                _workers.Run(group.Length, (worker, b) => outputs[b] = [.. Table.StepsWithDensity.Select(s => Output(worker,
                    [.. group[b].Select(t => new NoisyLatent(t.Request.Prompt, t.Latent(s), Table.Steps[s].Time))], cancellation))]);
                return outputs;
            }
        }
        return count == 0 ? double.NaN : sum / count;
    }

    /// <summary>The policy's guided outputs at any latents, [count][C*H*W].</summary>
    /// <param name="latents">Latents, times, prompts.</param>
    /// <param name="cancellation">Stops between batches.</param>
    public ReadOnlyMemory<float>[] Outputs(IReadOnlyList<NoisyLatent> latents, CancellationToken cancellation = default)
    {
        TextNow.Add(latents.Select(l => l.Prompt));
        var (length, each) = (_policy.Model.Latent.Count, _workers.Share(latents.Count, Options.BatchSize));
        var batches = latents.Chunk(each).ToArray();
        var outputs = new float[batches.Length][];
        _workers.Run(batches.Length, (worker, b) => outputs[b] = Output(worker, batches[b], cancellation));
        return [.. Enumerable.Range(0, latents.Count).Select(i => new ReadOnlyMemory<float>(outputs[i / each], i % each * length, length))];
    }

    private float[] Output(Worker worker, NoisyLatent[] batch, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var length = _policy.Model.Latent.Count;
        float[] x = new float[batch.Length * length], m = new float[x.Length];
        foreach (var (i, latent) in batch.Index()) latent.X.Span.CopyTo(x.AsSpan(i * length));
        worker.Denoiser.Run(x, [.. batch.Select(l => l.Time)], [.. batch.Select(l => l.Prompt)], m);
        return m;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isView) return;
        _workers.Dispose();
        Text.Dispose();
        if (_baseText.IsValueCreated) _baseText.Value.Dispose();
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
