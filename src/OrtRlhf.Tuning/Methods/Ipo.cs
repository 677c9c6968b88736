using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>The same as dpo with a margin to reach (Azar et al., 2023).</summary>
public sealed record IpoOptions : PairOptions, IImageLoss
{
    /// <summary>Several passes over an epoch's pictures, each with fresh noise.</summary>
    public IpoOptions()
    {
        Epochs = 10;
        Images = 120;
        PromptsPerEpoch = 30;
        Passes = 4;
    }

    /// <inheritdoc/>
    public override string Method => "ipo";

    /// <summary>How strongly the reference holds.</summary>
    [Category(Choices), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Beta { get; init; } = 2000;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } =
        new("ipo", "mean_pairs (2 beta h - 1)^2, h = -((L_w - L_l) - (L_ref_w - L_ref_l))/2; rows: preferred w first, then rejected l")
        {
            IsPaired = true,
            NeedsReference = true,
            Beta = 2000,
            Fields = new Dictionary<string, string> { ["target"] = TrainingFileMethod.PairTarget },
            Write = (f, o) => Ipo.Loss(DenoisingErrors.Inputs(f.Output, f.Reference), new() { Beta = o.ResolvedBeta }),
        };

    bool IImageLoss.IsPaired => true;

    bool IImageLoss.NeedsReference => true;

    TrainingLoss IImageLoss.Loss(DenoisingErrors errors) => Ipo.Loss(errors, new() { Beta = Beta });

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new ForwardTrainer(parts, this, MicroBatch);
}
