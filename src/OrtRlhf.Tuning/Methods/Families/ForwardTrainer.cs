using System.Runtime.CompilerServices;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// Methods that learn from pictures alone (<see cref="IImageLoss"/>: dpo, ipo, kto, sft, rwr), which are encoded, noised at one timestep
/// each, and denoised. Both sides of a pair have the same timestep and noise, drawn anew for each pass.
/// </summary>
internal sealed class ForwardTrainer : IPreferenceTrainer
{
    private readonly TuningParts parts;
    private readonly DenoisingStep step;
    private readonly LatentEncoder? encoder;
    private readonly ConditionalWeakTable<RatedCandidate, float[]> latents = [];

    /// <summary>Builds the training graph, and loads the image encoder where the model has one.</summary>
    /// <exception cref="UserError">The model cannot be differentiated.</exception>
    public ForwardTrainer(TuningParts parts, IImageLoss method, int microBatch)
    {
        this.parts = parts;
        var (options, policy) = (parts.Options, parts.Policy);
        step = new(policy, parts.Pipeline.Text, microBatch, method.NeedsReference, method.Loss, options.Session, method.IsPaired);
        if (policy.Model.Encoder is not null || policy.Model.Decoder is null) encoder = new(policy.Model, options.Session);
    }

    /// <inheritdoc/>
    public void Begin(int epoch, IReadOnlyList<PreferenceExample> examples, CancellationToken cancellation)
    {
        step.Reset();
        var missing = examples.SelectMany(e => new[] { e.Preferred, e.Rejected }).OfType<RatedCandidate>().Distinct().Where(c =>
            !latents.TryGetValue(c, out _)).ToArray();
        if (encoder is null && Array.Exists(missing, c => c.Trajectory is null))
            throw new UserError($"model '{parts.Policy.Model.Name}': has no image encoder, which turns chosen pictures into latents; "
                + $"import it with its vae, or use `Method` d3po, which takes trajectories");
        var encoded = encoder?.Encode([.. missing.Select(c => c.Image)], cancellation)
            ?? [.. missing.Select(c => c.Trajectory!.Latent(c.Trajectory.Steps).ToArray())];
        foreach (var (candidate, latent) in missing.Zip(encoded)) latents.Add(candidate, latent);
    }

    /// <inheritdoc/>
    public StepMetrics Accumulate(int epoch, int pass, IReadOnlyList<PreferenceExample> examples, Gradients sum,
        CancellationToken cancellation) =>
        step.Accumulate([.. examples.SelectMany(example => Samples(epoch, pass, example))], sum, cancellation);

    /// <inheritdoc/>
    public void Dispose()
    {
        step.Dispose();
        encoder?.Dispose();
    }

    // A pass has numbers of its own: 2^20 examples a round are more than anyone labels.
    private IEnumerable<NoisedSample> Samples(int epoch, int pass, PreferenceExample example)
    {
        var noise = new Philox(parts.Options.Seed, (uint)epoch, ((uint)pass << 20) + (uint)example.Index, RandomStep.ForwardNoise);
        var time = step.Time(noise);
        yield return Sample(example.Preferred);
        if (example.Rejected is { } rejected) yield return Sample(rejected);

        NoisedSample Sample(RatedCandidate candidate) => new(latents.GetOrAdd(candidate, _ =>
            throw new InvalidOperationException("not encoded")), candidate.Prompt, time, noise, example.Weight);
    }
}
