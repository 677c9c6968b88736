using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Antithetic evolution strategies: no gradients, no training graph, any sampler.</summary>
public sealed record EsOptions : TuningOptions
{
    /// <summary>A few prompts, the same for every member of a generation.</summary>
    public EsOptions()
    {
        Epochs = 100;
        PromptsPerEpoch = 4;
        LearningRateDecay = LearningRateDecay.Constant;
    }

    /// <inheritdoc/>
    public override string Method => "es";

    /// <summary>Members of a generation, even, a divisor of the images.</summary>
    [Category(Learning)]
    public int Population { get; init; } = 16;

    /// <summary>Deviation of the perturbations.</summary>
    [Category(Learning), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Sigma { get; init; } = 0.03;

    internal override int SharedImages => Images / Math.Max(1, Population);

    /// <summary>The same few prompts for every member of a generation; all different where they do not divide its images.</summary>
    /// <inheritdoc/>
    public override int PromptsFor(int images)
    {
        var each = Math.Max(1, images / Math.Max(1, Population));
        return each % PromptsPerEpoch == 0 ? PromptsPerEpoch : each;
    }

    // A fifth of sigma.
    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => 0.006;

    internal override ITuningMethod Create(TuningParts parts) => new EvolutionMethod(parts, this);

    /// <inheritdoc/>
    public override IEnumerable<string> Faults()
    {
        if (Population is < 2 or > 65_536
            || Population % 2 != 0) yield return $"`Population`: expected an even number from 2 to 65536, got {Population}";
        if (Population > 0 && Images % Population != 0) yield return $"`Images`: expected a multiple of the population, {Population}, "
            + $"got {Images}";
        foreach (var fault in base.Faults()) yield return fault;
    }
}

/// <summary>
/// Evolution strategies on the adapters as one vector, from images alone: no training graph is built. All members of a generation
/// sample the same prompts from the same noise, so that their rewards differ by their parameters only.
/// </summary>
internal sealed class EvolutionMethod : ITuningMethod
{
    private readonly TuningParts parts;
    private readonly EsOptions options;
    private readonly EvolutionStrategies strategies;

    /// <summary>Prepares the method.</summary>
    public EvolutionMethod(TuningParts parts, EsOptions options)
    {
        (this.parts, this.options) = (parts, options);
        strategies = new(new() { Population = options.Population, Sigma = options.Sigma, LearningRate = options.LearningRate!.Value },
            options.Seed);
    }

    /// <inheritdoc/>
    public EpochMetrics Run(int epoch, EpochClock clock, CancellationToken cancellation)
    {
        var adapters = parts.Policy.Adapters;
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
                foreach (var (name, values) in collected.Scores.Parts) (scores.TryGetValue(name, out var list) ? list : scores[name] = [])
                    .AddRange(values);
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
