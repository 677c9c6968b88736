using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// Policy gradients on denoising steps (DDPO, REINFORCE, Flow-GRPO): collect an epoch's trajectories, turn rewards into advantages, split
/// the
/// trajectories at random into parts, and take an optimizer step on each part, once or several times over.
/// </summary>
internal sealed class PolicyGradientMethod : ITuningMethod
{
    private readonly TuningParts parts;
    private readonly PolicyGradientOptions options;
    private readonly PolicyGradientStep step;
    private readonly PromptStatistics statistics = new(new());
    private readonly AdvantageBaseline baseline;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="UserError">The model cannot be differentiated.</exception>
    public PolicyGradientMethod(TuningParts parts, PolicyGradientOptions options)
    {
        (this.parts, this.options) = (parts, options);
        parts.Pipeline.Table.RequireDensity();
        baseline = options.AdvantageBaseline != AdvantageBaseline.Auto ? options.AdvantageBaseline
            : options.ImagesPerPrompt > 1 ? AdvantageBaseline.GroupMean
            : parts.Prompts.Training.Sum(list => list.Distinct().Count()) < options.Images ? AdvantageBaseline.Prompt
            : AdvantageBaseline.Batch;
        step = new PolicyGradientStep(
            parts.Policy, parts.Pipeline.Text, parts.Pipeline.GuidanceScale, options.MicroBatch, options.Loss, options.Session,
                withReference: options.KlWeight > 0);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        step.Reset();
        var requests = Collector.Requests(parts, epoch, options.Images, options.PromptsPerEpoch);
        var collected = Collector.Run(parts, epoch, requests, 0, clock, cancellation, options.SamplerOf(parts.Pipeline, epoch));
        var advantages = Advantages(collected);
        Advantage.Clip(advantages, options.AdvantageClip);
        var updates = clock.Time(TuningStage.Updating, () => Update(epoch, collected.Images, advantages, cancellation));
        return new EpochMetrics
        {
            Epoch = epoch,
            Images = (long)epoch * options.Images,
            Reward = RewardSpread.Of(collected.Scores.Total),
            Rewards = collected.Means(),
            Loss = updates.Mean("loss"),
            RatioFirstMaxDeviation = updates.RatioFirstMaxDeviation,
            ClipFraction = updates.Mean("clip_fraction"),
            GradientNorm = updates.GradientNorm,
            LearningRate = updates.LearningRate,
            Diversity = ImageDiversity.Of(collected.Images.Select(i => (i.Prompt, i.Image))),
            Other = Others(("approxKl", updates.Mean("approx_kl")), ("trainingKl", updates.Mean("kl")),
                ("zeroSpreadGroups", options.ImagesPerPrompt > 1 ? Groups.ZeroSpread(collected) : null)),
        };
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, float[]> Snapshot() => statistics.Snapshot();

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot) => statistics.Restore(snapshot);

    /// <inheritdoc/>
    public void Dispose() => step.Dispose();

    private static Dictionary<string, double>? Others(params (string Name, double? Value)[] others)
    {
        var known = others.Where(o => o.Value is not null).ToDictionary(o => o.Name, o => o.Value!.Value);
        return known.Count > 0 ? known : null;
    }

    private float[] Advantages(Collected collected)
    {
        var (rewards, name) = (collected.Scores.Total, parts.Reward.Name);
        var prompts = collected.Images.Select(i => i.Prompt).ToArray();
        if (baseline == AdvantageBaseline.Batch) return Advantage.PerBatch(rewards, name);
        if (baseline == AdvantageBaseline.Prompt) return statistics.Update(prompts, rewards, name);
        return Advantage.PerGroup(rewards, Groups.Of(collected), name, batchDeviation: baseline == AdvantageBaseline.GroupMean);
    }

    private EpochUpdates Update(int epoch, SampledImage[] images, float[] advantages, CancellationToken cancellation)
    {
        var weights = StepWeights.Of(images[0].Trajectory.Table!, options.StepWeighting);
        if (parts.Policy.Model.Dtype == Precision.Fp16)
            step.Rescore([.. images.SelectMany(image => Steps(image.Trajectory).Select(s => new Transition(image.Trajectory, s, 0)))],
                cancellation);
        return EpochUpdates.Run(parts, epoch, images.Length, fresh: true, (_, chosen) =>
        {
            // An advantage of 0 gives a gradient of 0: such images count in the mean, but need not be run.
            var signal = chosen.Where(i => advantages[i] != 0).ToArray();
            if (signal.Length == 0) return null;
            var transitions = signal.SelectMany(i => Steps(images[i].Trajectory).Select(s =>
                new Transition(images[i].Trajectory, s, (float)(advantages[i] * weights[s])))).ToArray();
            return step.Accumulate(transitions, parts.Learner.Gradient, (double)signal.Length / chosen.Length, cancellation);
        });

        IEnumerable<int> Steps(Trajectory trajectory) => TrainedSteps.Of(trajectory, options.TimestepFraction, options.Seed, epoch);
    }
}
