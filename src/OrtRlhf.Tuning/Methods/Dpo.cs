using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>Preferences between two pictures (Diffusion-DPO, Wallace et al., 2023).</summary>
public sealed record DpoOptions : PairOptions, IImageLoss
{
    /// <summary>Several passes over an epoch's pictures, each with fresh noise.</summary>
    public DpoOptions()
    {
        Epochs = 5;
        Images = 240;
        PromptsPerEpoch = 60;
        Passes = 8;
        UpdatesPerPass = 1;
    }

    /// <inheritdoc/>
    public override string Method => "dpo";

    /// <summary>How strongly the reference holds (on large models the papers take 2000 to 5000).</summary>
    [Category(Choices), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Beta { get; init; } = 200;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } =
        new("dpo", "mean_pairs -ln sigmoid(-beta/2 ((L_w - L_l) - (L_ref_w - L_ref_l))), L = mean (m - target)^2; rows: preferred w "
            + "first, then rejected l")
        {
            IsPaired = true,
            NeedsReference = true,
            Beta = 2000,
            Fields = new Dictionary<string, string> { ["target"] = TrainingFileMethod.PairTarget },
            Write = (f, o) => Dpo.Loss(DenoisingErrors.Inputs(f.Output, f.Reference), new() { Beta = o.ResolvedBeta }),
        };

    bool IImageLoss.IsPaired => true;

    bool IImageLoss.NeedsReference => true;

    TrainingLoss IImageLoss.Loss(DenoisingErrors errors) => Dpo.Loss(errors, new() { Beta = Beta });

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new ForwardTrainer(parts, this, MicroBatch);

    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => 0.01;
}
