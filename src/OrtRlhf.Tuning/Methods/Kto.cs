using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Likes and dislikes without pairs (Li et al., 2024).</summary>
public sealed record KtoOptions : PairOptions, IImageLoss
{
    /// <summary>Several passes over an epoch's pictures, each with fresh noise.</summary>
    public KtoOptions()
    {
        Epochs = 10;
        Images = 120;
        PromptsPerEpoch = 30;
        Passes = 4;
    }

    /// <inheritdoc/>
    public override string Method => "kto";

    /// <summary>How strongly the reference holds.</summary>
    [Category(Choices), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Beta { get; init; } = 2000;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } =
        new("kto", "mean_i 1 - sigmoid(label (r - z)), r = beta/2 (L_ref - L), z = max(0, mean r)")
        {
            NeedsReference = true,
            Beta = 2000,
            Fields = new Dictionary<string, string>
            {
                ["target"] = TrainingFileMethod.Target,
                ["label"] = "1 for a sample that is liked, -1 for one that is not",
            },
            Write = (f, o) =>
            {
                var errors = DenoisingErrors.Inputs(f.Output, f.Reference);
                return Kto.Loss(errors, Kto.Labels(errors), new() { Beta = o.ResolvedBeta });
            },
        };

    bool IImageLoss.NeedsReference => true;

    TrainingLoss IImageLoss.Loss(DenoisingErrors errors) => Kto.Loss(errors, errors.Weight!, new() { Beta = Beta });

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new ForwardTrainer(parts, this, MicroBatch);

    // Each side of a pair by itself, with its label in place of a weight.
    internal override IEnumerable<(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight)> Examples(PreferenceRound round) =>
        round.Pairs.SelectMany(p => new (RatedCandidate, RatedCandidate?, float)[]
        {
            (round.Candidates[p.Preferred], null, 1),
            (round.Candidates[p.Rejected], null, -1),
        });
}
