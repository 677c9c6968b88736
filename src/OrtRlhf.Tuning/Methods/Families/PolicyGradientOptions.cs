using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>What policy gradients on denoising steps have in common.</summary>
public abstract record PolicyGradientOptions : GradientOptions
{
    /// <summary>
    /// Groups to compare within, and noise in the early steps alone: what is in the picture is learnt, and how it is drawn stays.
    /// </summary>
    protected PolicyGradientOptions()
    {
        Epochs = 40;
        Images = 128;
        PromptsPerEpoch = 32;
    }

    /// <summary>Share of each image's noisy steps to train on, chosen anew for each image.</summary>
    [Category(Learning), Range(0, 1.0, MinimumIsExclusive = true)]
    public double TimestepFraction { get; init; } = 1;

    /// <summary>
    /// How much each step counts: uniform (DDPO), or noise, where the early steps, which decide what is in the picture, count as much as
    /// the late ones.
    /// </summary>
    [Category(Learning)]
    public StepWeighting StepWeighting { get; init; } = StepWeighting.Uniform;

    /// <summary>Advantages are limited to plus or minus this many deviations.</summary>
    [Category(Learning), Range(0, double.PositiveInfinity, MinimumIsExclusive = true)]
    public double AdvantageClip { get; init; } = 5;

    /// <summary>
    /// What a reward is compared with: batch, group, group-mean, prompt (its running mean), or auto: group-mean where prompts have several
    /// images, else
    /// prompt where the list is short, else batch.
    /// </summary>
    [Category(Learning)]
    public AdvantageBaseline AdvantageBaseline { get; init; } = AdvantageBaseline.Auto;

    /// <summary>Weight of the KL divergence to the model without adapters; Flow-GRPO's paper takes 0.04.</summary>
    [Category(Learning), Range(0, double.MaxValue)]
    public double KlWeight { get; init; }

    /// <summary>
    /// Only so many steps are noisy and trained on, the others deterministic (MixGRPO; DDIM and flows); 0 for all. By default 4, or all but
    /// one where
    /// there are fewer steps; none with ddpm.
    /// </summary>
    [Category(Learning)]
    public int? NoiseWindow { get; init; }

    /// <summary>
    /// Epochs between two moves of that window from noise to image; 0 for one that stays at the first steps, which decide what is in the
    /// picture.
    /// </summary>
    [Category(Learning), Range(0, int.MaxValue)]
    public int NoiseWindowInterval { get; init; }

    /// <summary>The loss.</summary>
    internal abstract TrainingLoss Loss(PolicyTransition transition);

    internal int Window => NoiseWindow ?? TrainedSteps.WidestWindow(Sampling, 4);

    internal override bool TrainsOnSteps => true;

    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => flow ? 0.002 : 0.0056;

    // Of the coefficient-preserving steps the last have next to no noise, and so log-probs that drown all others.
    internal override SamplerKind DefaultFlowSampler => Window > 0 && NoiseWindowInterval == 0 ? SamplerKind.Cps : SamplerKind.FlowGrpo;

    internal override Pipeline SamplerOf(Pipeline pipeline, int epoch) =>
        TrainedSteps.Window(pipeline, Sampling, epoch, Window, NoiseWindowInterval);

    internal override ITuningMethod Create(TuningParts parts) => new PolicyGradientMethod(parts, this);

    internal override TuningOptions WithSampling(SamplingOptions sampling) => this with { Sampling = sampling, NoiseWindow = Window };

    /// <inheritdoc/>
    public override IEnumerable<string> Faults()
    {
        foreach (var fault in base.Faults().Concat(TrainedSteps.Faults(NoiseWindow, Sampling))) yield return fault;
        if (AdvantageBaseline is AdvantageBaseline.Group or AdvantageBaseline.GroupMean && ImagesPerPrompt <= 1)
            yield return $"`PromptsPerEpoch`: expected fewer than {Images}, so that prompts have several images to compare, got "
                + $"{PromptsPerEpoch}";
    }
}
