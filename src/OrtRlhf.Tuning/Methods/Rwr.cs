using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Supervised fine-tuning on all pictures, weighted by how good they were found (reward-weighted regression).</summary>
public sealed record RwrOptions : PreferenceOptions, IImageLoss
{
    /// <summary>Several passes over an epoch's pictures, each with fresh noise.</summary>
    public RwrOptions()
    {
        Epochs = 10;
        Images = 120;
        PromptsPerEpoch = 30;
        Passes = 4;
    }

    /// <inheritdoc/>
    public override string Method => "rwr";

    /// <summary>An image one deviation better counts e^(1/temperature) times as much.</summary>
    [Category(Choices), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Temperature { get; init; } = 0.5;

    /// <summary>Advantages are limited to plus or minus this many deviations.</summary>
    [Category(Choices), Range(0, double.PositiveInfinity, MinimumIsExclusive = true)]
    public double AdvantageClip { get; init; } = 5;

    TrainingLoss IImageLoss.Loss(DenoisingErrors errors) => Mse.Loss(errors);

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new ForwardTrainer(parts, this, MicroBatch);

    // Weights exp(A/temperature) over their mean, with A the score in deviations from the mean of the prompt.
    internal override IEnumerable<(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight)> Examples(PreferenceRound round)
    {
        var candidates = round.Candidates;
        var numbers = candidates.Select(c => c.Prompt).Distinct().Select((prompt, i) => (prompt, i)).ToDictionary();
        var advantages = Advantage.PerGroup([.. candidates.Select(c => c.Score)], [.. candidates.Select(c => numbers[c.Prompt])], Reward,
            batchDeviation: false);
        Advantage.Clip(advantages, AdvantageClip);
        var weights = Array.ConvertAll(advantages, a => Math.Exp(a / Temperature));
        var mean = weights.Average();
        return candidates.Zip(weights, (candidate, w) => (candidate, (RatedCandidate?)null, (float)(w / mean)));
    }
}
