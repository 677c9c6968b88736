using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Rewards;
using OrtRlhf.Scenes;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>Scores of held-out images, one an image and in the order of the evaluation's requests.</summary>
/// <param name="Total">The trained reward of each image.</param>
/// <param name="Rewards">Every part of it and every watched reward, by name.</param>
/// <param name="Diversity">Difference between images of one prompt, see <see cref="ImageDiversity"/>; null when no prompt has two.</param>
/// <param name="Kl">KL to the base model in nats per element, mean over transitions; null for the base model, or without noise.</param>
public sealed record EvaluationResult(float[] Total, IReadOnlyDictionary<string, float[]> Rewards, double? Diversity, double? Kl)
{
    /// <summary>The prompt and the seed of each image.</summary>
    public IReadOnlyList<EvaluatedImage> Images { get; init; } = [];

    /// <summary>
    /// Whether each image is right, by task of <see cref="SceneTasks.Of"/>; empty where the prompts are no captions of drawn scenes.
    /// </summary>
    public IReadOnlyDictionary<string, float[]> Tasks { get; init; } = new Dictionary<string, float[]>();
}

/// <summary>One image of an evaluation; the same prompt and seed give the same noise to any adapter.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="Seed">The seed.</param>
public sealed record EvaluatedImage(string Prompt, ulong Seed);

/// <summary>Images of fixed prompts and seeds, scored: the same before and after tuning, and for every adapter.</summary>
public static class Evaluation
{
    /// <summary>Trajectories that the KL divergence is measured on; it is a mean over their transitions and elements.</summary>
    public const int KlTrajectories = 32;

    /// <summary>
    /// What to sample: prompts in their order, each at least twice where images allow, so that diversity can be seen; image i has the seed
    /// <paramref name="seed"/> + i and epoch 0, which no training image has.
    /// </summary>
    /// <param name="prompts">Held-out prompts.</param>
    /// <param name="count">Images.</param>
    /// <param name="seed">The first seed.</param>
    public static SampleRequest[] Requests(IReadOnlyList<string> prompts, int count, ulong seed)
    {
        var different = Math.Min(prompts.Count, (count + 1) / 2);
        return [.. Enumerable.Range(0, count).Select(i => new SampleRequest(prompts[i % different], seed + (ulong)i, 0, 0))];
    }

    /// <summary>
    /// The KL divergence to the base model, see <see cref="Pipeline.Kl"/>, on trajectories, or on new ones of the same requests where those
    /// have no density.
    /// </summary>
    /// <param name="noisy">The policy with the sampler to measure on.</param>
    /// <param name="drawn">The policy with the sampler that drew them.</param>
    /// <param name="trajectories">Trajectories of the policy.</param>
    /// <param name="cancellation">Stops between steps.</param>
    public static double Kl(Pipeline noisy, Pipeline drawn, IReadOnlyList<Trajectory> trajectories,
        CancellationToken cancellation = default)
    {
        if (noisy.SamplerName != drawn.SamplerName) trajectories =
            [.. noisy.Sample([.. trajectories.Select(t => t.Request)], cancellation: cancellation).Select(s => s.Trajectory)];
        return noisy.Kl(trajectories, cancellation);
    }

    /// <summary>Samples and scores images, a batch at a time.</summary>
    /// <param name="pipeline">The policy, with the adapters it has now.</param>
    /// <param name="reward">What to score.</param>
    /// <param name="requests">What to sample.</param>
    /// <param name="noisy">The same policy with the sampler that the KL divergence to the base model is measured on; null for none.</param>
    /// <param name="progress">Told the number of images done.</param>
    /// <param name="cancellation">Stops between steps.</param>
    /// <exception cref="UserError">A score that is not finite, or a fault of the model.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static EvaluationResult Run(
        Pipeline pipeline, WeightedReward reward, IReadOnlyList<SampleRequest> requests, Pipeline? noisy = null,
            Action<int>? progress = null, CancellationToken cancellation = default)
    {
        var (images, trajectories) = (new List<(string, RgbImage)>(requests.Count), new List<Trajectory>());
        var total = new List<float>(requests.Count);
        var scenes = requests.All(r => PromptAlignment.Fits(r.Prompt)) ? new List<(SceneKind, SceneScore)>() : null;
        var parts = new SortedDictionary<string, List<float>>(StringComparer.Ordinal);
        foreach (var batch in requests.Chunk(pipeline.Options.BatchSize))
        {
            var sampled = pipeline.Sample(batch, cancellation: cancellation);
            var inputs = sampled.Select((s, i) => new RewardInput(s.Image, s.Prompt, total.Count + i)).ToArray();
            var scores = reward.ScoreParts(inputs, cancellation);
            total.AddRange(scores.Total);
            foreach (var (name, values) in scores.Parts) (parts.TryGetValue(name, out var list) ? list : parts[name] = []).AddRange(values);
            images.AddRange(sampled.Select(s => (s.Prompt, s.Image)));
            if (sampled[0].Image is not { Width: Scene.Side, Height: Scene.Side }) scenes = null;
            scenes?.AddRange(inputs.Select(input => (SceneCaption.Parse(input.Prompt)!.Kind, PromptAlignment.Read(input))));
            if (noisy is not null) trajectories.AddRange(sampled.Take(KlTrajectories - trajectories.Count).Select(s => s.Trajectory));
            progress?.Invoke(total.Count);
        }
        var kl = noisy is null ? double.NaN : Kl(noisy, pipeline, trajectories, cancellation);
        return new([.. total], parts.ToDictionary(p => p.Key, p => p.Value.ToArray()), ImageDiversity.Of(images), double.IsNaN(kl)
            ? null : kl)
        {
            Images = [.. requests.Select(r => new EvaluatedImage(r.Prompt, r.Seed))],
            Tasks = SceneTasks.Of(scenes ?? []),
        };
    }
}
