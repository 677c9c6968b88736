using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Methods;

/// <summary>What d3po holds the policy to.</summary>
public enum PreferenceReference
{
    /// <summary>The model without adapters.</summary>
    Base,

    /// <summary>The policy that drew the trajectories, that of the round.</summary>
    Round,
}

/// <summary>Preferences on every step of two trajectories (Yang et al., 2023).</summary>
public sealed record D3poOptions : PairOptions
{
    /// <summary>Pairs of candidates.</summary>
    public D3poOptions()
    {
        Epochs = 5;
        Images = 120;
        PromptsPerEpoch = 60;
    }

    /// <inheritdoc/>
    public override string Method => "d3po";

    /// <summary>How strongly the reference holds.</summary>
    [Category(Choices), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double Beta { get; init; } = 0.1;

    /// <summary>Clip range of the ratio to the reference.</summary>
    [Category(Choices), Range(0, 1.0, MinimumIsExclusive = true, MaximumIsExclusive = true)]
    public double ClipRange { get; init; } = 0.1;

    /// <summary>What the policy is held to: base, the model without adapters, or round, the policy that drew the candidates.</summary>
    [Category(Choices)]
    public PreferenceReference Reference { get; init; } = PreferenceReference.Base;

    /// <inheritdoc cref="PolicyGradientOptions.TimestepFraction"/>
    [Category(Learning), Range(0, 1.0, MinimumIsExclusive = true)]
    public double TimestepFraction { get; init; } = 0.3;

    /// <inheritdoc cref="PolicyGradientOptions.StepWeighting"/>
    [Category(Learning)]
    public StepWeighting StepWeighting { get; init; } = StepWeighting.Uniform;

    /// <summary>Only so many steps are noisy and trained on, the others deterministic (MixGRPO; DDIM and flows); 0 for all.</summary>
    [Category(Learning)]
    public int NoiseWindow { get; init; }

    /// <inheritdoc cref="PolicyGradientOptions.NoiseWindowInterval"/>
    [Category(Learning), Range(0, int.MaxValue)]
    public int NoiseWindowInterval { get; init; } = 5;

    /// <summary>The loss as a file.</summary>
    public static TrainingFileMethod TrainingFile { get; } = TrainingFileMethod.OfTransitions("d3po",
        "mean_pairs -A ln sigmoid(beta (ln r_w - ln r_l)), r = clip(exp(log_prob - log_prob_ref), 1-c, 1+c); rows: steps of preferred "
            + "trajectories w first, "
            + "then the same of rejected ones l") with
    {
        IsPaired = true,
        NeedsReference = true,
        KlWeight = null,
        Beta = new D3poLossOptions().Beta,
        ClipRange = new D3poLossOptions().ClipRange,
        Fields = new Dictionary<string, string>(TrainingFileMethod.TransitionFields, StringComparer.Ordinal)
        {
            ["old_log_prob"] = "log p(x'|x) when x' was drawn, which the metrics ratio and approx_kl compare with; the loss takes no "
                + "notice of it",
            ["advantage"] = "A, how much the pair counts, in both of its rows; 1 where all count the same",
        },
        Write = (f, o) => D3po.Loss(TrainingFileMethod.Transition(f), new() { Beta = o.ResolvedBeta, ClipRange = o.ResolvedClipRange }),
    };

    internal override bool TrainsOnSteps => true;

    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => 0.01;

    internal override SamplerKind DefaultFlowSampler =>
        NoiseWindow > 0 && NoiseWindowInterval == 0 ? SamplerKind.Cps : SamplerKind.FlowGrpo;

    internal override Pipeline SamplerOf(Pipeline pipeline, int epoch) =>
        TrainedSteps.Window(pipeline, Sampling, epoch, NoiseWindow, NoiseWindowInterval);

    internal override IPreferenceTrainer Trainer(TuningParts parts) => new TrajectoryTrainer(parts, this);

    /// <inheritdoc/>
    public override IEnumerable<string> Faults() => base.Faults().Concat(TrainedSteps.Faults(NoiseWindow, Sampling));
}

/// <summary><see cref="D3po"/>: every step of a preferred trajectory against the same step of the rejected one.</summary>
internal sealed class TrajectoryTrainer : IPreferenceTrainer
{
    private readonly D3poOptions options;
    private readonly bool rescores;
    private readonly PolicyGradientStep step;

    /// <summary>Builds the training graph.</summary>
    /// <exception cref="UserError">The model cannot be differentiated.</exception>
    public TrajectoryTrainer(TuningParts parts, D3poOptions options)
    {
        this.options = options;
        rescores = parts.Policy.Model.Dtype == Precision.Fp16;
        step = new PolicyGradientStep(
            parts.Policy, parts.Pipeline.Text, parts.Pipeline.GuidanceScale, options.MicroBatch,
            transition => D3po.Loss(transition, new() { Beta = options.Beta, ClipRange = options.ClipRange }), options.Session,
            withReference: options.Reference == PreferenceReference.Base, paired: true);
    }

    /// <inheritdoc/>
    public void Begin(int epoch, IReadOnlyList<PreferenceExample> examples, CancellationToken cancellation)
    {
        step.Reset();
        if (rescores) step.Rescore(Transitions(epoch, examples), cancellation);
    }

    /// <inheritdoc/>
    public StepMetrics Accumulate(int epoch, int pass, IReadOnlyList<PreferenceExample> examples, Gradients sum,
        CancellationToken cancellation) =>
        step.Accumulate(Transitions(epoch, examples), sum, 1, cancellation);

    /// <inheritdoc/>
    public void Dispose() => step.Dispose();

    // The same steps of both sides, where both have a density.
    private Transition[] Transitions(int epoch, IReadOnlyList<PreferenceExample> examples) =>
    [
        .. from example in examples
           let preferred = example.Preferred.Trajectory!
           let rejected = example.Rejected!.Trajectory!
           let weights = StepWeights.Of(preferred.Table!, options.StepWeighting)
           from s in TrainedSteps.Of(preferred, options.TimestepFraction, options.Seed, epoch)
           where rejected.Table!.Steps[s].HasDensity
           from side in (Trajectory[])[preferred, rejected]
           select new Transition(side, s, (float)(example.Weight * weights[s])),
    ];
}
