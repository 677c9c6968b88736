using System.Globalization;
using System.Text.Json.Serialization;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Rewards;
using OrtRlhf.Scenes;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>
/// Everything that decides a run's result, resolved: what options.json holds. Two runs of equal options on one machine give the same
/// metrics and the same adapter. Each property is an option of the command line by its name in kebab case.
/// </summary>
public sealed record TuningOptions
{
    /// <summary>Folder of the model. Default <c>models/shapes</c>.</summary>
    public string Model { get; init; } = "models/shapes";

    /// <summary>How the model is read.</summary>
    public ModelOptions ModelOptions { get; init; } = new();

    /// <summary>How to learn. Default DDPO. Here are the defaults of most methods; <see cref="For"/> has those of each.</summary>
    public TuningMethod Method { get; init; } = TuningMethod.Ddpo;

    /// <summary>The reward: a weighted sum of names, see <see cref="RewardRegistry.Parse"/>.</summary>
    public string Reward { get; init; } = "jpeg-compressibility+1.5*prompt-alignment";

    /// <summary>Rewards scored beside it but not trained on; null, the default, takes all that fit every prompt.</summary>
    public IReadOnlyList<string>? Watch { get; init; }

    /// <summary>Folder of the run. Default <c>runs/tune</c>.</summary>
    public string Output { get; init; } = "runs/tune";

    /// <summary>Epochs of collecting, scoring and updating, at least 1. Default 42.</summary>
    public int Epochs { get; init; } = 42;

    /// <summary>Seed of all random numbers but those of the evaluation. Default 0.</summary>
    public ulong Seed { get; init; }

    /// <summary>Prompt file, one prompt or template a line; null, the default, takes captions of drawn scenes, or nothing for a model without prompts.</summary>
    public string? Prompts { get; init; }

    /// <summary>Prompts for evaluation; null, the default, puts some of <see cref="Prompts"/> aside.</summary>
    public string? HeldOutPrompts { get; init; }

    /// <summary>Kinds of captions when there is no prompt file. Default all.</summary>
    public IReadOnlyList<SceneKind> PromptKinds { get; init; } = Enum.GetValues<SceneKind>();

    /// <summary>Images sampled and scored an epoch, 2 to 1,000,000. Default 64.</summary>
    public int Images { get; init; } = 64;

    /// <summary>Prompts drawn an epoch, a divisor of <see cref="Images"/> (with es: of the images of a member). Default 64: one image each.</summary>
    public int PromptsPerEpoch { get; init; } = 64;

    /// <summary>How images are sampled, in training and, but for what follows, in evaluation.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Sampler of the evaluation; null, the default, for that of training, of a flow for Euler's deterministic steps.</summary>
    public SamplerKind? EvaluationSampler { get; init; }

    /// <summary>Steps of the evaluation; null, the default, for those of training, of a flow for at least 20.</summary>
    public int? EvaluationSteps { get; init; }

    /// <summary>How images are sampled in evaluation.</summary>
    [JsonIgnore]
    public SamplingOptions EvaluationSampling => Sampling with
    {
        Sampler = EvaluationSampler ?? Sampling.Sampler,
        Steps = EvaluationSteps ?? Sampling.Steps,
        NoiseLevel = EvaluationSampler is null || EvaluationSampler == Sampling.Sampler ? Sampling.NoiseLevel : null,
    };

    /// <summary>The same with the defaults that depend on the model.</summary>
    /// <param name="model">The model.</param>
    public TuningOptions ResolvedFor(ImageModel model)
    {
        var sampler = Sampling.Sampler != SamplerKind.Auto ? Sampling.Sampler
            : model.Flow is null ? SamplerKind.Ddim
            : !IsPolicyGradient ? SamplerKind.Euler
            // Of the coefficient-preserving steps the last have next to no noise, and so log-probs that drown all others.
            : NoiseWindow > 0 && NoiseWindowInterval == 0 ? SamplerKind.Cps : SamplerKind.FlowGrpo;
        return this with
        {
            Sampling = Sampling with { Sampler = sampler, ClipSample = IsPolicyGradient ? false : Sampling.ClipSample },
            EvaluationSampler = EvaluationSampler ?? (model.Flow is null ? sampler : SamplerKind.Euler),
            EvaluationSteps = EvaluationSteps ?? (model.Flow is null ? Sampling.Steps : Math.Max(Sampling.Steps, LeastFlowSteps)),
            LearningRate = LearningRate ?? DefaultLearningRate(model.Flow is not null),
            LoraTargets = LoraTargets ?? LoraOptions.TargetsFor(model.DenoiserName),
        };
    }

    private const int LeastFlowSteps = 20;

    private double DefaultLearningRate(bool flow) => Method switch
    {
        TuningMethod.Ddpo or TuningMethod.Reinforce or TuningMethod.FlowGrpo => flow ? 0.002 : 0.0056,
        TuningMethod.Nft => flow ? 0.004 : 0.007,
        TuningMethod.Es => 0.006,
        TuningMethod.D3po or TuningMethod.Dpo => 0.01,
        _ => 0.007,
    };

    /// <summary>Whether the method trains on the sampler's steps, which must have a density.</summary>
    internal bool IsPolicyGradient => Method.TrainsOnSteps();

    /// <summary>
    /// Peak learning rate, &gt; 0. Null, the default, is 0.0056 for policy gradients, 0.002 with a flow; 0.01 for d3po and dpo; 0.006 for es, a fifth of sigma;
    /// 0.007 for the others, of nft with a flow 0.004.
    /// </summary>
    public double? LearningRate { get; init; }

    /// <summary>Updates of linear warm-up. Default 0.</summary>
    public int WarmupUpdates { get; init; }

    /// <summary>What the learning rate does after the warm-up, until the last epoch. Default linear (es: constant).</summary>
    public LearningRateDecay LearningRateDecay { get; init; } = LearningRateDecay.Linear;

    /// <summary>AdamW's weight decay, at least 0. Default 1e-4.</summary>
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>Largest norm of a gradient, &gt; 0. Default 1.</summary>
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>Parts that an epoch's images are split into, one update each. Default 4; not used by es.</summary>
    public int UpdatesPerPass { get; init; } = 4;

    /// <summary>Times that an epoch's images are trained on. Default 1; not used by es.</summary>
    public int Passes { get; init; } = 1;

    /// <summary>Share of a trajectory's steps that are trained on, chosen anew for each image, (0, 1]. Default 0.5; not used by es.</summary>
    public double TimestepFraction { get; init; } = 0.5;

    /// <summary>How much each step counts. Default uniform; not used by es.</summary>
    public StepWeighting StepWeighting { get; init; } = StepWeighting.Uniform;

    /// <summary>Transitions a run of the training graph, at least 1. Default 16; changes rounding only.</summary>
    public int MicroBatch { get; init; } = 16;

    /// <summary>DDPO's clip range, (0, 1). Default 5e-4: log-probs are means over elements.</summary>
    public double ClipRange { get; init; } = 5e-4;

    /// <summary>Advantages are limited to plus or minus this many deviations, &gt; 0. Default 5.</summary>
    public double AdvantageClip { get; init; } = 5;

    /// <summary>What rewards are compared with. Default auto.</summary>
    public AdvantageBaseline AdvantageBaseline { get; init; } = AdvantageBaseline.Auto;

    /// <summary>
    /// Weight of the KL divergence to the model without adapters (nft: of the squared distance to its output), at least 0. Default 0; the paper of Flow-GRPO takes 0.04.
    /// </summary>
    public double KlWeight { get; init; }

    /// <summary>Whether the images of a prompt begin from the same noise, so that they differ by the steps' alone. Default false.</summary>
    public bool SharedInitialNoise { get; init; }

    /// <summary>Noisy steps of DDIM or a flow among deterministic ones, which slide from noise to image (MixGRPO); 0, the default, for all.</summary>
    public int NoiseWindow { get; init; }

    /// <summary>Epochs between two moves of that window; 0 for one that stays at the first steps. Default 5.</summary>
    public int NoiseWindowInterval { get; init; } = 5;

    /// <summary>How far nft's two implicit policies lie on either side of the old one, &gt; 0. Default 1.</summary>
    public double NftBeta { get; init; } = 1;

    /// <summary>Store of people's choices to learn from; null, the default, lets the reward choose in a person's place. A run keeps the folder of the images here.</summary>
    public string? Preferences { get; init; }

    /// <summary>Factors on the weights of stored choices, by aspect or rater; null, the default, for none.</summary>
    public IReadOnlyDictionary<string, double>? ExpertWeights { get; init; }

    /// <summary>Which pairs a reward makes of a prompt's candidates in a rater's place. Default the best against the worst.</summary>
    public RaterRule Rater { get; init; } = RaterRule.BestWorst;

    /// <summary>How the parts of that reward come to one opinion. Default by their weighted sum.</summary>
    public ExpertRule Experts { get; init; } = ExpertRule.Sum;

    /// <summary>beta of d3po, dpo, ipo and kto, how strongly the reference holds, &gt; 0. Default 0.1 (dpo: 200; ipo, kto: 2000).</summary>
    public double Beta { get; init; } = 0.1;

    /// <summary>What d3po holds the policy to. Default the base model.</summary>
    public PreferenceReference Reference { get; init; } = PreferenceReference.Base;

    /// <summary>Of rwr: an image one deviation better counts e^(1/temperature) times as much, &gt; 0. Default 0.5.</summary>
    public double Temperature { get; init; } = 0.5;

    /// <summary>Members of a generation of es, even, a divisor of <see cref="Images"/>. Default 16.</summary>
    public int Population { get; init; } = 16;

    /// <summary>Deviation of es' perturbations, &gt; 0. Default 0.03.</summary>
    public double Sigma { get; init; } = 0.03;

    /// <summary>LoRA rank, at least 1. Default 8.</summary>
    public int LoraRank { get; init; } = 8;

    /// <summary>LoRA alpha, &gt; 0: the adapters' output is scaled by alpha/rank. Null, the default, is the rank.</summary>
    public double? LoraAlpha { get; init; }

    /// <summary>Layers with adapters, see <see cref="LoraOptions.Targets"/>. Null, the default, is <see cref="LoraOptions.TargetsFor"/>.</summary>
    public IReadOnlyList<string>? LoraTargets { get; init; }

    /// <summary>Adapter to go on from, with its layers and ranks, in place of <see cref="LoraRank"/>, <see cref="LoraAlpha"/> and <see cref="LoraTargets"/>; null, the default, for none.</summary>
    public string? InitAdapter { get; init; }

    /// <summary>Decay of the parameters' moving average, which is then what is evaluated and shipped; 0, the default, for none.</summary>
    public double Ema { get; init; }

    /// <summary>Held-out images before and after, at least 2. Default 256.</summary>
    public int EvaluationImages { get; init; } = 256;

    /// <summary>Evaluate every so many epochs too; 0, the default, only before and after.</summary>
    public int EvaluateEvery { get; init; }

    /// <summary>Seed of the evaluation's first image; the next image has the next seed. The same for all runs, so that they compare.</summary>
    public ulong EvaluationSeed { get; init; } = 1_000_000;

    /// <summary>Write a sheet of images at fixed seeds every so many epochs; 0 for none. Default 5.</summary>
    public int SamplesEvery { get; init; } = 5;

    /// <summary>Images of that sheet, and pairs in the report, 1 to 64. Default 12.</summary>
    public int SampleImages { get; init; } = 12;

    /// <summary>Write a checkpoint every so many epochs, at least 1. Default 1.</summary>
    public int CheckpointEvery { get; init; } = 1;

    /// <summary>Device and threads.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>The defaults of a method, as the command line starts from them.</summary>
    /// <param name="method">The method.</param>
    public static TuningOptions For(TuningMethod method) => method switch
    {
        // Groups to compare within, and noise in the early steps alone: what is in the picture is learnt, and how it is drawn stays.
        TuningMethod.Ddpo or TuningMethod.Reinforce => new()
        {
            Method = method,
            Epochs = 40,
            Images = 128,
            PromptsPerEpoch = 32,
            UpdatesPerPass = method == TuningMethod.Ddpo ? 4 : 1,
            TimestepFraction = 1,
            NoiseWindow = 4,
            NoiseWindowInterval = 0,
        },
        TuningMethod.FlowGrpo => new()
        {
            Method = method,
            Epochs = 140,
            Images = 128,
            PromptsPerEpoch = 16,
            AdvantageBaseline = AdvantageBaseline.Group,
            TimestepFraction = 1,
            StepWeighting = StepWeighting.Noise,
            NoiseWindow = 4,
            NoiseWindowInterval = 0,
        },
        TuningMethod.Nft => new() { Method = method, Epochs = 72, Images = 128, PromptsPerEpoch = 16, AdvantageBaseline = AdvantageBaseline.Group },
        TuningMethod.Es => new() { Method = method, Epochs = 100, PromptsPerEpoch = 4, LearningRateDecay = LearningRateDecay.Constant },
        TuningMethod.D3po => new() { Method = method, Epochs = 5, Images = 120, PromptsPerEpoch = 60, ClipRange = 0.1, TimestepFraction = 0.3 },
        TuningMethod.Dpo => new() { Method = method, Epochs = 5, Images = 240, PromptsPerEpoch = 60, Beta = 200, Passes = 8, UpdatesPerPass = 1 },
        TuningMethod.Ipo or TuningMethod.Kto => new() { Method = method, Epochs = 10, Images = 120, PromptsPerEpoch = 30, Beta = 2000, Passes = 4 },
        TuningMethod.Sft or TuningMethod.Rwr => new() { Method = method, Epochs = 10, Images = 120, PromptsPerEpoch = 30, Passes = 4 },
        _ => new() { Method = method },
    };

    /// <summary>Images that share a prompt in an epoch.</summary>
    internal int ImagesPerPrompt => (Method == TuningMethod.Es ? Images / Math.Max(1, Population) : Images) / Math.Max(1, PromptsPerEpoch);

    /// <summary>All faults, in the words of the command line; none when all is well. What needs the model or files is checked when the run starts.</summary>
    public IEnumerable<string> Faults()
    {
        foreach (var (holds, option, expected, got) in Checks())
            if (!holds) yield return string.Create(CultureInfo.InvariantCulture, $"--{option}: expected {expected}, got {got}");
        foreach (var fault in Sampling.Faults().Concat(ModelOptions.Faults())) yield return fault;
        foreach (var fault in EvaluationSampling.Faults().Where(f => f.StartsWith("--steps", StringComparison.Ordinal) && EvaluationSteps is not null)) yield return fault.Replace("--steps", "--evaluation-steps", StringComparison.Ordinal);
        if (!IsPolicyGradient) yield break;
        if (Sampling.Sampler == SamplerKind.DpmSolver) yield return $"--sampler: expected ddim or ddpm, got dpm-solver++: a solver's steps have no density for a policy gradient; use --method es";
        if (Sampling.Sampler is SamplerKind.Euler or SamplerKind.AdamsBashforth)
            yield return $"--sampler: expected flow-grpo, dance-grpo, cps or noisy-euler, got a deterministic one, whose steps have no density for a policy gradient; --evaluation-sampler may be deterministic";
        if (Sampling.ClipSample == true) yield return "--clip-sample: expected false, got true: a clamped mean is not linear in the model's output; leave it out, or use --method es";
        if (Sampling is { Eta: 0, Sampler: SamplerKind.Ddim or SamplerKind.Auto })
            yield return "--eta: expected more than 0, got 0: without noise the steps have no density for a policy gradient; use --eta 1, or --method es";
    }

    private IEnumerable<(bool Holds, string Option, string Expected, object Got)> Checks()
    {
        var es = Method == TuningMethod.Es;
        yield return (Model.Length > 0, "model", "a folder", "nothing");
        yield return (Output.Length > 0, "output", "a folder", "nothing");
        yield return (Epochs is >= 1 and <= 1_000_000, "epochs", "1 to 1000000", Epochs);
        yield return (Images is >= 2 and <= 1_000_000, "images", "2 to 1000000", Images);
        if (es)
        {
            yield return (Population is >= 2 and <= 65_536 && Population % 2 == 0, "population", "an even number from 2 to 65536", Population);
            yield return (Population > 0 && Images % Population == 0, "images", $"a multiple of the population, {Population}", Images);
            yield return (Sigma > 0 && double.IsFinite(Sigma), "sigma", "a number > 0", Sigma);
        }
        var each = es && Population > 0 ? Images / Population : Images;
        yield return (PromptsPerEpoch >= 1 && PromptsPerEpoch <= each && each % PromptsPerEpoch == 0, "prompts-per-epoch", $"a divisor of {each}, the images{(es ? " of a member" : "")}", PromptsPerEpoch);
        yield return (Prompts is not null || PromptKinds.Count > 0, "prompt-kinds", "at least one kind", "none");
        yield return (LearningRate is null || (LearningRate > 0 && double.IsFinite(LearningRate.Value)), "learning-rate", "a number > 0", LearningRate ?? 0);
        yield return (WarmupUpdates >= 0, "warmup-updates", "0 or more", WarmupUpdates);
        yield return (LearningRateDecay == LearningRateDecay.Constant || WarmupUpdates < TotalUpdates, "warmup-updates", $"fewer than the {TotalUpdates} updates of the run", WarmupUpdates);
        yield return (WeightDecay >= 0 && double.IsFinite(WeightDecay), "weight-decay", "0 or more", WeightDecay);
        yield return (MaxGradientNorm > 0, "max-gradient-norm", "a number > 0", MaxGradientNorm);
        yield return (es || (UpdatesPerPass >= 1 && UpdatesPerPass <= Images), "updates-per-pass", $"1 to {Images}, the images", UpdatesPerPass);
        yield return (Passes is >= 1 and <= 1000, "passes", "1 to 1000", Passes);
        yield return (TimestepFraction is > 0 and <= 1, "timestep-fraction", "a number in (0, 1]", TimestepFraction);
        yield return (MicroBatch is >= 1 and <= 4096, "micro-batch", "1 to 4096", MicroBatch);
        yield return (ClipRange is > 0 and < 1, "clip-range", "a number in (0, 1)", ClipRange);
        yield return (AdvantageClip > 0, "advantage-clip", "a number > 0", AdvantageClip);
        yield return (es || AdvantageBaseline is not (AdvantageBaseline.Group or AdvantageBaseline.GroupMean) || ImagesPerPrompt > 1, "prompts-per-epoch", $"fewer than {Images}, so that prompts have several images to compare", PromptsPerEpoch);
        yield return (Method != TuningMethod.Nft || AdvantageBaseline is AdvantageBaseline.Group or AdvantageBaseline.GroupMean, "advantage-baseline", "group or group-mean, which nft compares by", AdvantageBaseline);
        yield return (KlWeight >= 0 && double.IsFinite(KlWeight), "kl-weight", "0 or more", KlWeight);
        yield return (NoiseWindow >= 0 && NoiseWindow < Sampling.Steps, "noise-window", $"0, or fewer than the {Sampling.Steps} steps", NoiseWindow);
        yield return (NoiseWindowInterval >= 0, "noise-window-interval", "0 or more", NoiseWindowInterval);
        yield return (NftBeta > 0 && double.IsFinite(NftBeta), "nft-beta", "a number > 0", NftBeta);
        yield return (!Method.LearnsFromPreferences() || Preferences is not null || ImagesPerPrompt > 1, "prompts-per-epoch", $"at most half of the {Images} images, so that each prompt has candidates to choose among", PromptsPerEpoch);
        yield return (Preferences is null || Method.LearnsFromPreferences(), "preferences", "a method that learns from choices: d3po, dpo, ipo, kto, sft or rwr", Method);
        yield return (ExpertWeights?.Values.All(w => w >= 0 && double.IsFinite(w)) != false, "expert-weights", "weights of 0 and more", string.Join(",", ExpertWeights?.Values ?? []));
        yield return (Beta > 0 && double.IsFinite(Beta), "beta", "a number > 0", Beta);
        yield return (Temperature > 0 && double.IsFinite(Temperature), "temperature", "a number > 0", Temperature);
        yield return (LoraRank is >= 1 and <= 4096, "lora-rank", "1 to 4096", LoraRank);
        yield return (LoraAlpha is null || (LoraAlpha > 0 && double.IsFinite(LoraAlpha.Value)), "lora-alpha", "a number > 0", LoraAlpha ?? 0);
        yield return (LoraTargets is not { Count: 0 }, "lora-targets", "at least one module path", "none");
        yield return (Ema is >= 0 and < 1, "ema", "a number in [0, 1)", Ema);
        yield return (EvaluationImages is >= 2 and <= 1_000_000, "evaluation-images", "2 to 1000000", EvaluationImages);
        yield return (EvaluateEvery >= 0, "evaluate-every", "0 or more", EvaluateEvery);
        yield return (SamplesEvery >= 0, "samples-every", "0 or more", SamplesEvery);
        yield return (SampleImages is >= 1 and <= 64, "sample-images", "1 to 64", SampleImages);
        yield return (CheckpointEvery >= 1, "checkpoint-every", "1 or more", CheckpointEvery);
        yield return (Session.Device is "cpu" or "cuda" or "webgpu", "device", "cpu, cuda or webgpu", Session.Device);
        yield return (Session.Threads >= 0, "threads", "0 or more", Session.Threads);
        yield return (Session.Workers >= 0, "workers", "0 or more", Session.Workers);
    }

    /// <summary>Optimizer steps of an epoch.</summary>
    internal int UpdatesPerEpoch => Method == TuningMethod.Es ? 1 : Limited((long)UpdatesPerPass * Passes);

    /// <summary>Optimizer steps of the run.</summary>
    internal int TotalUpdates => Limited((long)Epochs * UpdatesPerEpoch);

    private static int Limited(long count) => (int)Math.Min(int.MaxValue, count);
}
