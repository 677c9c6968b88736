using OrtRlhf.Diffusion.Images;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Methods;

/// <summary>
/// Evolution strategies on the adapters as one vector, from images alone: no training graph is built. All members of a generation
/// sample the same prompts from the same noise, so that their rewards differ by their parameters only.
/// </summary>
internal sealed class EvolutionMethod : ITuningMethod
{
    private readonly TuningParts parts;
    private readonly EvolutionStrategies strategies;

    /// <summary>Prepares the method.</summary>
    public EvolutionMethod(TuningParts parts)
    {
        this.parts = parts;
        var options = parts.Options;
        strategies = new(new() { Population = options.Population, Sigma = options.Sigma, LearningRate = options.LearningRate!.Value }, options.Seed);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        var (options, adapters) = (parts.Options, parts.Policy.Adapters);
        var each = options.Images / options.Population;
        var requests = Collector.Requests(parts, epoch, each, options.PromptsPerEpoch);
        var (fitness, total) = (new float[options.Population], new float[options.Images]);
        var scores = new SortedDictionary<string, List<float>>(StringComparer.Ordinal);
        var first = Array.Empty<(string, RgbImage)>();
        using (var theta = adapters.Keep())
        {
            for (var member = 0; member < options.Population; member++)
            {
                strategies.Perturb(theta.Values, (uint)epoch, member, adapters.All);
                var collected = Collector.Run(parts, epoch, requests, member * each, clock, cancellation);
                collected.Scores.Total.CopyTo(total, member * each);
                fitness[member] = (float)MeanEstimate.Of(collected.Scores.Total).Mean;
                foreach (var (name, values) in collected.Scores.Parts) (scores.TryGetValue(name, out var list) ? list : scores[name] = []).AddRange(values);
                if (member == 0) first = [.. collected.Images.Select(i => (i.Prompt, i.Image))];
            }
        }
        parts.Report(TuningStage.Updating, epoch, 0, 1);
        var (norm, rate) = clock.Time(TuningStage.Updating, () =>
        {
            strategies.EstimateGradient(fitness, (uint)epoch, parts.Learner.Gradient.Values);
            return parts.Learner.Step();
        });
        return new EpochMetrics
        {
            Epoch = epoch,
            Images = (long)epoch * options.Images,
            Reward = RewardSpread.Of(total),
            Rewards = scores.ToDictionary(part => part.Key, part => MeanEstimate.Of(part.Value.ToArray()).Mean),
            GradientNorm = norm,
            LearningRate = rate,
            Diversity = ImageDiversity.Of(first),
            Other = new Dictionary<string, double> { ["fitnessStddev"] = RewardSpread.Of(fitness).Stddev },
        };
    }

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, float[]> Snapshot() => new Dictionary<string, float[]>();

    /// <inheritdoc/>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot)
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
