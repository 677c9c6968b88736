using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>DiffusionNFT (Zheng et al., 2025): good images attract, bad ones repel; any sampler, no log-probs.</summary>
public sealed record NftOptions : GradientOptions
{
    /// <summary>Groups of eight, to compare within.</summary>
    public NftOptions()
    {
        Epochs = 72;
        Images = 128;
        PromptsPerEpoch = 16;
    }

    /// <inheritdoc/>
    public override string Method => "nft";

    /// <summary>How far its two implicit policies lie from the old one; smaller is stronger (the paper: 0.1 to 1).</summary>
    [Category(Learning), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Beta { get; init; } = 1;

    /// <summary>As many timesteps as this share of the sampler's, at which each image is noised and trained on.</summary>
    [Category(Learning), Range(0, 1.0, MinimumIsExclusive = true)]
    public double TimestepFraction { get; init; } = 0.5;

    /// <summary>Advantages of plus or minus this many deviations and more are rewards of 1 and 0.</summary>
    [Category(Learning), Range(0, double.PositiveInfinity, MinimumIsExclusive = true)]
    public double AdvantageClip { get; init; } = 5;

    /// <summary>What a reward is compared with: group, or group-mean, which divides by the deviation of all images.</summary>
    [Category(Learning)]
    public AdvantageBaseline AdvantageBaseline { get; init; } = AdvantageBaseline.Group;

    /// <summary>Weight of the squared distance to the output of the model without adapters.</summary>
    [Category(Learning), Range(0, double.MaxValue)]
    public double KlWeight { get; init; }

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } =
        new("nft", "mean_i r e(v+) + (1-r) e(v-), v+- = v_old +- b (m - v_old), e the squared error of the clean sample over its mean "
            + "absolute error")
        {
            Beta = new NftLossOptions().Beta,
            Fields = new Dictionary<string, string>
            {
                ["target"] = TrainingFileMethod.Target,
                ["old_output"] = "v_old, the output of the policy that drew the clean samples",
                ["reward"] = "r, 0 to 1, how good the sample is among those of its prompt",
                ["error_scale"] = "size of the clean sample's error by the output's: t of a flow, sqrt((1-a)/a) of epsilon, sqrt(1-a) of "
                    + "v_prediction, a the alpha bar",
            },
            Write = (f, o) => Nft.Loss(NftSamples.Inputs(f.Output, withReference: false), new() { Beta = o.ResolvedBeta }),
        };

    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => flow ? 0.004 : 0.007;

    internal override ITuningMethod Create(TuningParts parts) => new NftMethod(parts, this);

    /// <inheritdoc/>
    public override IEnumerable<string> Faults()
    {
        foreach (var fault in base.Faults()) yield return fault;
        if (AdvantageBaseline is not (AdvantageBaseline.Group or AdvantageBaseline.GroupMean))
            yield return $"`AdvantageBaseline`: expected group or group-mean, which nft compares by, got {AdvantageBaseline}";
        if (ImagesPerPrompt <= 1) yield return $"`PromptsPerEpoch`: expected fewer than {Images}, so that prompts have several images to "
            + $"compare, got {PromptsPerEpoch}";
    }
}

/// <summary>
/// DiffusionNFT (<see cref="Nft"/>): the old policy, which follows the trained one, draws images by any sampler; these are noised again,
/// and the policy is trained to
/// tell the good ones from the bad ones there. A flow's times are drawn from the logit-normal distribution (Esser et al., 2024), <c>t =
/// 1/(1 + e^-z)</c> with
/// z ~ N(0, 1): in the middle a sample says most about what is in the picture. A diffusion model's are times of the sampler. No
/// log-probabilities, no paths. The
/// output is guided here as it is in sampling; with a guidance of 1 it is the paper's.
/// </summary>
internal sealed class NftMethod : ITuningMethod
{
    private const string Old = "old policy", Rounds = "rounds";
    private readonly TuningParts parts;
    private readonly NftOptions options;
    private readonly NftLossOptions nft;
    private readonly TrainingStep step;
    private readonly Func<double, ForwardStep> forward;
    private readonly double[] times;
    private readonly float[] old;
    private int rounds;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="Graph.UserError">The model cannot be differentiated.</exception>
    public NftMethod(TuningParts parts, NftOptions options)
    {
        (this.parts, this.options) = (parts, options);
        nft = new() { Beta = options.Beta, KlWeight = options.KlWeight, AdvantageClip = options.AdvantageClip };
        forward = parts.Policy.Model.Forward();
        times = [.. parts.Pipeline.Steps.Times];
        old = parts.Policy.Adapters.All.ToArray();
        var (g, withReference) = (parts.Pipeline.GuidanceScale, options.KlWeight > 0);
        step = new(parts.Policy, parts.Pipeline.Text, g != 1, options.MicroBatch, ["weight"], batch =>
            parts.Policy.TrainingGraphOf(batch, g, withReference, Loss, options.Session.Gradients), options.Session);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        step.Reset();
        var requests = Collector.Requests(parts, epoch, options.Images, options.PromptsPerEpoch);
        Collected collected = null!;
        TrainingRow[][] rows = [];
        using (parts.Policy.Adapters.Keep())
        {
            old.CopyTo(parts.Policy.Adapters.All);
            collected = Collector.Run(parts, epoch, requests, 0, clock, cancellation, keepSteps: false);
            rows = clock.Time(TuningStage.Updating, () => Rows(epoch, collected, cancellation));
        }
        var updates = clock.Time(TuningStage.Updating, () => Update(epoch, rows, cancellation));
        Follow();
        return new EpochMetrics
        {
            Epoch = epoch,
            Images = (long)epoch * options.Images,
            Reward = RewardSpread.Of(collected.Scores.Total),
            Rewards = collected.Means(),
            Loss = updates.Mean("loss"),
            GradientNorm = updates.GradientNorm,
            LearningRate = updates.LearningRate,
            Diversity = ImageDiversity.Of(collected.Images.Select(i => (i.Prompt, i.Image))),
            Other = new Dictionary<string, double>
            {
                ["zeroSpreadGroups"] = Groups.ZeroSpread(collected),
                ["oldDeviation"] = updates.Mean("old_deviation") ?? 0,
                ["referenceDeviation"] = updates.Mean("kl") ?? 0,
            },
        };
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, float[]> Snapshot() => new Dictionary<string, float[]> { [Old] = [.. old], [Rounds] = [rounds] };

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot)
    {
        if (!snapshot.TryGetValue(Old, out var values) || values.Length != old.Length) throw new Graph.UserError(
            "the checkpoint has no old policy of this model and rank; it is of another run");
        values.CopyTo(old, 0);
        rounds = (int)snapshot[Rounds][0];
    }

    /// <inheritdoc/>
    public void Dispose() => step.Dispose();

    private TrainingLoss Loss(GuidedOutput o)
    {
        var samples = NftSamples.Inputs(o.Output, withReference: false);
        var weight = o.Output.Graph.Input("weight", Graph.ElementType.Float, o.Output.Sizes[0]);
        return Nft.Loss(samples with { Errors = samples.Errors with { Reference = o.Reference }, Weight = weight }, nft);
    }

    private void Follow()
    {
        var d = (float)Nft.OldPolicyDecay(rounds++, nft);
        System.Numerics.Tensors.TensorPrimitives.Lerp(parts.Policy.Adapters.All, old, d, old);
    }

    // The rows of each image that carries a signal: some times, noise, and what the old policy says there.
    private TrainingRow[][] Rows(int epoch, Collected collected, CancellationToken cancellation)
    {
        var advantages = Advantage.PerGroup(collected.Scores.Total, Groups.Of(collected), parts.Reward.Name,
            options.AdvantageBaseline == AdvantageBaseline.GroupMean);
        var rewards = Nft.Rewards(advantages, nft);
        var length = parts.Policy.Model.Latent.Count;
        var (places, noisy, fields) = (new List<int>(), new List<NoisyLatent>(), new List<(string, ReadOnlyMemory<float>)[]>());
        foreach (var (i, image) in collected.Images.Index().Where(entry => advantages[entry.Index] != 0))
        {
            var (trajectory, chosen) = (image.Trajectory, Times(epoch, image.Trajectory));
            var noise = new float[chosen.Length * length];
            new Philox(options.Seed, (uint)epoch, trajectory.Request.Sample, RandomStep.ForwardNoise).FillGaussian(noise);
            foreach (var (k, time) in chosen.Index())
            {
                var at = forward(time);
                float[] x = new float[length], target = new float[length];
                at.AddNoise(trajectory.Latents, noise.AsSpan(k * length, length), x);
                at.Target(trajectory.Latents, noise.AsSpan(k * length, length), target);
                places.Add(i);
                noisy.Add(new(image.Prompt, x, time));
                fields.Add([("target", target), TrainingRow.Number("reward", rewards[i]), TrainingRow.Number("error_scale", at.ErrorScale),
                    TrainingRow.Number("weight", 1)]);
            }
        }
        var outputs = noisy.Count == 0 ? [] : parts.Pipeline.Outputs(noisy, cancellation);
        var rows = places.Select((place, k) => (place, Row: new TrainingRow(noisy[k], [.. fields[k], ("old_output", outputs[k])])))
            .ToLookup(entry => entry.place, entry => entry.Row);
        return [.. Enumerable.Range(0, collected.Images.Length).Select(i => rows[i].ToArray())];
    }

    private double[] Times(int epoch, Trajectory trajectory)
    {
        var count = (int)Math.Max(1, Math.Round(options.TimestepFraction * times.Length));
        var random = new Philox(options.Seed, (uint)epoch, trajectory.Request.Sample, RandomStep.Timesteps);
        if (parts.Policy.Model.Flow is { } flow)
        {
            var z = new float[count];
            random.FillGaussian(z);
            return Array.ConvertAll(z, value => flow.Time(1 / (1 + Math.Exp(-value))));
        }
        var shuffled = (double[])times.Clone();
        random.Shuffle<double>(shuffled);
        return shuffled[..count];
    }

    private EpochUpdates Update(int epoch, TrainingRow[][] rows, CancellationToken cancellation) =>
        EpochUpdates.Run(parts, epoch, rows.Length, fresh: false, (_, chosen) =>
        {
            TrainingRow[][] signal = [.. chosen.Select(i => rows[i]).Where(r => r.Length > 0)];
            return signal.Length == 0 ? null : step.Accumulate([.. signal.SelectMany(r => r)], parts.Learner.Gradient,
                (double)signal.Length / chosen.Length, cancellation);
        });
}
