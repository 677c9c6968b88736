using OrtRlhf.Tuning.Preferences;
using OrtRlhf.Tuning.Rewards;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// Learning from preferences (D3PO, Diffusion-DPO, IPO, KTO, and fine-tuning on chosen or reward-weighted pictures). An epoch is a round: several candidates a prompt
/// are sampled, a reward chooses among them in a rater's place, and what was chosen is trained on. With people's choices every epoch trains on all of them.
/// </summary>
internal sealed class PreferenceMethod : ITuningMethod
{
    private readonly TuningParts parts;
    private readonly IPreferenceTrainer trainer;
    private (PreferenceRound, Collected)? stored;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="Graph.UserError">The model cannot be differentiated.</exception>
    public PreferenceMethod(TuningParts parts)
    {
        this.parts = parts;
        trainer = parts.Options.Method == TuningMethod.D3po ? new TrajectoryTrainer(parts) : new ForwardTrainer(parts);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        var options = parts.Options;
        var (round, collected) = parts.Selection is { } selection ? (stored ??= StoredRound.Load(selection, parts, cancellation)) : Sampled(epoch, clock, cancellation);
        var updates = clock.Time(TuningStage.Updating, () => Update(epoch, round, cancellation));
        return new EpochMetrics
        {
            Epoch = epoch,
            Images = (long)epoch * round.Candidates.Count,
            Reward = RewardSpread.Of(collected.Scores.Total),
            Rewards = collected.Means(),
            Loss = Mean("loss"),
            Kl = Mean("kl"),
            RatioFirstMaxDeviation = options.Method == TuningMethod.D3po && parts.Selection is null && updates.Count > 0 ? updates[0].Metrics.RatioDeviation : null,
            ClipFraction = Mean("clip_fraction"),
            GradientNorm = updates.Count > 0 ? updates.Average(u => u.Norm) : null,
            LearningRate = updates.Count > 0 ? updates[^1].Rate : null,
            Diversity = collected.Images.Length == 0 ? null : ImageDiversity.Of(collected.Images.Select(i => (i.Prompt, i.Image))),
            Other = Others(),
        };

        double? Mean(string name) => updates.Count > 0 && updates[0].Metrics.Means.ContainsKey(name) ? updates.Average(u => u.Metrics.Means[name]) : null;

        Dictionary<string, double> Others()
        {
            var others = new Dictionary<string, double> { ["choices"] = round.Pairs.Count };
            foreach (var (name, written) in (ReadOnlySpan<(string, string)>)[("accuracy", "implicitAccuracy"), ("margin", "margin"), ("mse", "mse"), ("approx_kl", "approxKl")])
                if (Mean(name) is { } mean) others[written] = mean;
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
        var options = parts.Options;
        var requests = Collector.Requests(parts, epoch, options.Images, options.PromptsPerEpoch);
        var collected = Collector.Run(parts, epoch, requests, 0, clock, cancellation, keepSteps: options.Method.TrainsOnSteps());
        var pairs = SyntheticRater.Rate(parts.Reward, collected.Scores, options.ImagesPerPrompt, options.Rater, options.Experts);
        return (new([.. collected.Images.Select((image, i) => new RatedCandidate(image.Prompt, image.Image, image.Trajectory, collected.Scores.Total[i]))], pairs), collected);
    }

    private List<(StepMetrics Metrics, double Norm, double Rate)> Update(int epoch, PreferenceRound round, CancellationToken cancellation)
    {
        var (options, results) = (parts.Options, new List<(StepMetrics, double, double)>());
        var examples = round.Examples(options);
        trainer.Begin(epoch, examples, cancellation);
        foreach (var (part, of, numbers) in UpdateParts.Of(options, epoch, examples.Length))
        {
            parts.Report(TuningStage.Updating, epoch, part, of);
            if (numbers.Length == 0) continue;
            parts.Learner.Gradient.Clear();
            var metrics = trainer.Accumulate(epoch, part / options.UpdatesPerPass, [.. numbers.Select(i => examples[i])], parts.Learner.Gradient, cancellation);
            if (results.Count == 0 && parts.Selection is null) PolicyGradientMethod.RequireRatioOne(parts, metrics.RatioDeviation);
            var (norm, rate) = parts.Learner.Step();
            results.Add((metrics, norm, rate));
        }
        parts.Report(TuningStage.Updating, epoch, options.UpdatesPerEpoch, options.UpdatesPerEpoch);
        return results;
    }
}
