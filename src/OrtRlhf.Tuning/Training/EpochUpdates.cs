using System.Globalization;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Training;

/// <summary>The optimizer steps of an epoch, and what they came to.</summary>
internal sealed class EpochUpdates
{
    /// <summary>How far the importance ratio may be from 1 where the policy is still the one that sampled.</summary>
    public const double RatioTolerance = 1e-4;

    /// <summary>
    /// The same for a model that computes in halves, where the rows that share a batch may change the last digit of an activation.
    /// </summary>
    public const double HalfRatioTolerance = 1e-3;

    private readonly List<(StepMetrics Metrics, double Norm, double Rate)> steps = [];

    /// <summary>Largest |ratio - 1| of the first step; null if there was no step.</summary>
    public double? RatioFirstMaxDeviation => steps.Count > 0 ? steps[0].Metrics.RatioDeviation : null;

    /// <summary>Mean norm of the gradients before they were cut; null if there was no step.</summary>
    public double? GradientNorm => steps.Count > 0 ? steps.Average(s => s.Norm) : null;

    /// <summary>The last learning rate; null if there was no step.</summary>
    public double? LearningRate => steps.Count > 0 ? steps[^1].Rate : null;

    /// <summary>Splits an epoch's images at random into parts, an optimizer step each, as many times over as there are passes.</summary>
    /// <param name="parts">The run.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="images">How many images, or other examples, there are.</param>
    /// <param name="fresh">Whether they are the policy's own, so that the importance ratio, if the loss has one, must begin at 1.</param>
    /// <param name="accumulate">Adds the gradient of some of them, by pass and number, to the learner's; null where they carry no signal,
    /// which is no step.</param>
    /// <exception cref="UserError">Sampler and trainer disagree.</exception>
    public static EpochUpdates Run(TuningParts parts, int epoch, int images, bool fresh, Func<int, int[], StepMetrics?> accumulate)
    {
        var (options, updates) = ((GradientOptions)parts.Options, new EpochUpdates());
        for (var pass = 0; pass < options.Passes; pass++)
        {
            var order = Enumerable.Range(0, images).ToArray();
            new Philox(options.Seed, (uint)epoch, (uint)pass, RandomStep.Shuffle).Shuffle<int>(order);
            for (var part = 0; part < options.UpdatesPerPass; part++)
            {
                parts.Report(TuningStage.Updating, epoch, (pass * options.UpdatesPerPass) + part, options.UpdatesPerEpoch);
                var chosen = order[(images * part / options.UpdatesPerPass)..(images * (part + 1) / options.UpdatesPerPass)];
                parts.Learner.Gradient.Clear();
                if (chosen.Length == 0 || accumulate(pass, chosen) is not { } metrics) continue;
                if (fresh && updates.steps.Count == 0) RequireRatioOne(parts, metrics.RatioDeviation);
                var (norm, rate) = parts.Learner.Step();
                updates.steps.Add((metrics, norm, rate));
            }
        }
        parts.Report(TuningStage.Updating, epoch, options.UpdatesPerEpoch, options.UpdatesPerEpoch);
        return updates;
    }

    /// <summary>The mean of a metric over the steps; null if the loss does not have it, or there was no step.</summary>
    public double? Mean(string name) =>
        steps.Count > 0 && steps[0].Metrics.Means.ContainsKey(name) ? steps.Average(s => s.Metrics.Means[name]) : null;

    private static void RequireRatioOne(TuningParts parts, double deviation)
    {
        var tolerance = parts.Policy.Model.Dtype == Precision.Fp16 ? HalfRatioTolerance : RatioTolerance;
        if (deviation <= tolerance) return;
        throw new UserError(string.Create(CultureInfo.InvariantCulture,
            $"ratio.first: expected the importance ratio within {tolerance} of 1 on fresh samples, got {deviation:g3} off: sampler and "
                + $"training graph of '{parts.Policy.Model.Name}' compute different outputs. Use `Device` cpu, or a larger `Eta`; the "
                + $"last checkpoint is intact."));
    }
}
