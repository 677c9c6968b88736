using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Supervised fine-tuning on the chosen pictures.</summary>
public sealed record SftOptions : PairOptions, IImageLoss
{
    /// <summary>Several passes over an epoch's pictures, each with fresh noise.</summary>
    public SftOptions()
    {
        Epochs = 10;
        Images = 120;
        PromptsPerEpoch = 30;
        Passes = 4;
    }

    /// <inheritdoc/>
    public override string Method => "sft";

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } = new("mse", "mean (m - target)^2")
    {
        Fields = new Dictionary<string, string> { ["target"] = TrainingFileMethod.Target },
        Write = (f, _) => Mse.Loss(DenoisingErrors.Inputs(f.Output)),
    };

    TrainingLoss IImageLoss.Loss(DenoisingErrors errors) => Mse.Loss(errors);

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new ForwardTrainer(parts, this, MicroBatch);

    internal override IEnumerable<(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight)> Examples(PreferenceRound round) =>
        round.Pairs.Select(p => (round.Candidates[p.Preferred], (RatedCandidate?)null, p.Weight));
}
