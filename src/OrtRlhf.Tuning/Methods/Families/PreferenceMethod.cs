using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// Learning from preferences (D3PO, Diffusion-DPO, IPO, KTO, and fine-tuning on chosen or reward-weighted pictures). An epoch is a round:
/// several candidates a prompt
/// are sampled, a reward chooses among them in a rater's place, and what was chosen is trained on. With people's choices every epoch trains
/// on all of them.
/// </summary>
internal sealed class PreferenceMethod : ITuningMethod
{
    private readonly TuningParts parts;
    private readonly PreferenceOptions options;
    private readonly IPreferenceTrainer trainer;
    private (PreferenceRound, Collected)? stored;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="Graph.UserError">The model cannot be differentiated.</exception>
    public PreferenceMethod(TuningParts parts, PreferenceOptions options)
    {
        (this.parts, this.options) = (parts, options);
        trainer = options.Trainer(parts);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        var (round, collected) = parts.Selection is { } selection ? (stored ??= StoredRound.Load(selection, parts, cancellation))
            : Sampled(epoch, clock, cancellation);
        var updates = clock.Time(TuningStage.Updating, () => Update(epoch, round, cancellation));
        return new EpochMetrics
        {
            Epoch = epoch,
            Images = (long)epoch * round.Candidates.Count,
            Reward = RewardSpread.Of(collected.Scores.Total),
            Rewards = collected.Means(),
            Loss = updates.Mean("loss"),
            Kl = updates.Mean("kl"),
            RatioFirstMaxDeviation = options.TrainsOnSteps && parts.Selection is null ? updates.RatioFirstMaxDeviation : null,
            ClipFraction = updates.Mean("clip_fraction"),
            GradientNorm = updates.GradientNorm,
            LearningRate = updates.LearningRate,
            Diversity = collected.Images.Length == 0 ? null : ImageDiversity.Of(collected.Images.Select(i => (i.Prompt, i.Image))),
            Other = Others(),
        };

        Dictionary<string, double> Others()
        {
            var others = new Dictionary<string, double> { ["choices"] = round.Pairs.Count };
            foreach (var (name, written) in (ReadOnlySpan<(string, string)>)[("accuracy", "implicitAccuracy"), ("margin", "margin"),
                ("mse", "mse"), ("approx_kl", "approxKl")])
                if (updates.Mean(name) is { } mean) others[written] = mean;
            return others;
        }
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, float[]> Snapshot() => new Dictionary<string, float[]>();

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot) { }

    /// <inheritdoc/>
    public void Dispose() => trainer.Dispose();

    private (PreferenceRound, Collected) Sampled(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        var requests = Collector.Requests(parts, epoch, options.Images, options.PromptsPerEpoch);
        var collected = Collector.Run(parts, epoch, requests, 0, clock, cancellation, options.SamplerOf(parts.Pipeline, epoch),
            options.TrainsOnSteps);
        var pairs = options.Rate(parts, collected.Scores);
        return (new([.. collected.Images.Select((image, i) =>
            new RatedCandidate(image.Prompt, image.Image, image.Trajectory, collected.Scores.Total[i]))], pairs), collected);
    }

    private EpochUpdates Update(int epoch, PreferenceRound round, CancellationToken cancellation)
    {
        PreferenceExample[] examples = [.. options.Examples(round).Select((e, i) =>
            new PreferenceExample(e.Preferred, e.Rejected, e.Weight, i))];
        trainer.Begin(epoch, examples, cancellation);
        return EpochUpdates.Run(
            parts, epoch, examples.Length, fresh: parts.Selection is null,
            (pass, chosen) => trainer.Accumulate(epoch, pass, [.. chosen.Select(i => examples[i])], parts.Learner.Gradient, cancellation));
    }
}
