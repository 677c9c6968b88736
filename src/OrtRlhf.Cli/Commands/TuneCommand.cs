using System.Globalization;
using CommandLine;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Runs;
using ExpertRule = OrtRlhf.Rewards.ExpertRule;
using RaterRule = OrtRlhf.Rewards.RaterRule;

namespace OrtRlhf.Cli.Commands;

/// <summary>Tunes a model from a reward. Options that are not given keep the method's defaults, <see cref="TuningOptions.For"/>.</summary>
[Verb("tune", HelpText = "Tunes a model from a reward: LoRA adapters learn to raise the reward of what the model draws. "
    + "Writes a run folder with the adapter, a report (report.html), metrics and checkpoints; a stopped run resumes to the same numbers.")]
[Example("the model that ships: smaller files, and still what the prompt says", "tune")]
[Example("one reward alone; the report shows what it costs", "tune --reward jpeg-compressibility --epochs 20 --seed 1 --output artifacts/runs/small")]
[Example("your model and prompts, without gradients", "tune my-model --method es --reward prompt-alignment --prompts prompts.txt")]
[Example("rewards of your own: a CLIP folder, an aesthetic head, a service", "tune my-model --prompts prompts.txt --reward \"clip-score:my-clip+0.2*http://localhost:8000/score#timeout=20\"")]
[Example("a flow model, trained on few noisy steps, judged on more deterministic ones", "tune models/shapes-flow --method flow-grpo --reward prompt-alignment")]
[Example("the same without noise or log-probs", "tune models/shapes-flow --method nft --reward prompt-alignment")]
[Example("go on from an adapter, of yours or of others", "tune my-model --init-adapter style.safetensors --reward jpeg-compressibility")]
[Example("go on with a run that was stopped", "tune --resume artifacts/runs/small")]
internal sealed class TuneCommand : ModelCommand
{
    [Option("method", MetaValue = "NAME", HelpText = "How to learn: ddpo (policy gradient with a clipped importance ratio), reinforce (plain policy gradient), flow-grpo (the same as ddpo in groups of a prompt's images, with a KL term), nft (DiffusionNFT: good images attract, bad ones repel; any sampler, no log-probs) or es (evolution strategies, no gradients, no training graph); from choices among candidates: d3po (every step of two trajectories), dpo, ipo (pairs of images), kto (likes and dislikes), sft (chosen images), rwr (reward-weighted images). All for flows and diffusion models. Default ddpo.")]
    public string? Method { get; set; }

    [Option("reward", MetaValue = "SUM", HelpText = "What to raise: a weighted sum of rewards, see the list below; an argument (NAME:ARGUMENT#OPTION=VALUE) ends at a blank, + or *, or stands in quotes. Default jpeg-compressibility+1.5*prompt-alignment.")]
    public string? Reward { get; set; }

    [Option("watch", Separator = ',', MetaValue = "A,B", HelpText = "Rewards to score and report but not to train on. Default all that fit the prompts.")]
    public IEnumerable<string> Watch { get; set; } = [];

    [Option("epochs", MetaValue = "N", HelpText = "Times to sample, score and update. Default 40 (flow-grpo: 140; nft: 72; d3po and dpo: 5, others that learn from choices: 10; es: 100). With --resume: the new total, to which a falling learning rate is fitted from then on.")]
    public int? Epochs { get; set; }

    [Option("seed", MetaValue = "N", HelpText = "Seed of the run; the same seed gives the same metrics. Default 0.")]
    public ulong? Seed { get; set; }

    [Option('o', "output", MetaValue = "DIR", HelpText = "Folder of the run. Default artifacts/runs/<date>-<method>-<n>.")]
    public string? Output { get; set; }

    [Option("resume", MetaValue = "RUN", HelpText = "Go on with a run from its last checkpoint, with the options it had.")]
    public string? Resume { get; set; }

    [Section("Prompts and images"), Option("prompts", MetaValue = "FILE", HelpText = "Prompt file, one prompt or template such as 'a {red|blue} circle' a line. Default captions of drawn scenes.")]
    public string? Prompts { get; set; }

    [Section("Prompts and images"), Option("held-out-prompts", MetaValue = "FILE", HelpText = "Prompts to evaluate on. Default some of --prompts, which are then not trained on.")]
    public string? HeldOutPrompts { get; set; }

    [Section("Prompts and images"), Option("prompt-kinds", Separator = ',', MetaValue = "A,B", HelpText = "Kinds of captions when there is no prompt file: single-object, two-objects, counting, colour-attribution. Default all.")]
    public IEnumerable<string> PromptKinds { get; set; } = [];

    [Section("Prompts and images"), Option("images", MetaValue = "N", HelpText = "Images sampled and scored an epoch. Default 128 (es: 64; from choices: 120, dpo: 240).")]
    public int? Images { get; set; }

    [Section("Prompts and images"), Option("prompts-per-epoch", MetaValue = "N", HelpText = "Prompts drawn an epoch, a divisor of the images; fewer than images give groups of images to compare. Default a quarter, four images each (flow-grpo and nft: an eighth; d3po: half, pairs; es: 4).")]
    public int? PromptsPerEpoch { get; set; }

    [Section("Prompts and images"), Option("group-size", MetaValue = "N", HelpText = "The same said by the images of a prompt: a divisor of the images. Default 4 (flow-grpo and nft: 8, d3po: 2).")]
    public int? GroupSize { get; set; }

    [Section("Prompts and images"), Option("shared-initial-noise", HelpText = "The images of a prompt begin from the same noise and differ by the steps' alone.")]
    public bool SharedInitialNoise { get; set; }

    [Section("Learning"), Option("learning-rate", MetaValue = "X", HelpText = "Peak learning rate. Default 0.0056, of policy gradients on flows 0.002 (es: 0.006; nft and from choices: 0.007, nft on flows 0.004; d3po and dpo: 0.01).")]
    public double? LearningRate { get; set; }

    [Section("Learning"), Option("warmup-updates", MetaValue = "N", HelpText = "Updates over which the learning rate rises from 0. Default 0.")]
    public int? WarmupUpdates { get; set; }

    [Section("Learning"), Option("learning-rate-decay", MetaValue = "NAME", HelpText = "What the learning rate does after that: constant, linear or cosine. Default linear (es: constant).")]
    public string? LearningRateDecay { get; set; }

    [Section("Learning"), Option("weight-decay", MetaValue = "X", HelpText = "AdamW's weight decay. Default 0.0001.")]
    public double? WeightDecay { get; set; }

    [Section("Learning"), Option("max-gradient-norm", MetaValue = "X", HelpText = "Longer gradients are cut to this norm. Default 1.")]
    public double? MaxGradientNorm { get; set; }

    [Section("Learning"), Option("updates-per-pass", MetaValue = "N", HelpText = "Updates that an epoch's images are split over. Default 4 (reinforce, dpo: 1).")]
    public int? UpdatesPerPass { get; set; }

    [Section("Learning"), Option("passes", MetaValue = "N", HelpText = "Times that an epoch's images are trained on. Default 1 (dpo: 8; ipo, kto, sft, rwr: 4).")]
    public int? Passes { get; set; }

    [Section("Learning"), Option("timestep-fraction", MetaValue = "X", HelpText = "Share of each image's steps to train on, above 0 to 1. Default 1 (nft: 0.5, d3po: 0.3).")]
    public double? TimestepFraction { get; set; }

    [Section("Learning"), Option("step-weighting", MetaValue = "NAME", HelpText = "How much each step counts: uniform (DDPO), or noise, where the early steps, which decide what is in the picture, count as much as the late ones. Default uniform (flow-grpo: noise).")]
    public string? StepWeighting { get; set; }

    [Section("Learning"), Option("micro-batch", MetaValue = "N", HelpText = "Steps a run of the training graph; less needs less memory. Default 16.")]
    public int? MicroBatch { get; set; }

    [Section("Learning"), Option("clip-range", MetaValue = "X", HelpText = "Clip range of the ratio: of ddpo to the policy that sampled, default 0.0005; of d3po to the reference, default 0.1.")]
    public double? ClipRange { get; set; }

    [Section("Learning"), Option("advantage-clip", MetaValue = "X", HelpText = "Advantages are limited to this many deviations. Default 5.")]
    public double? AdvantageClip { get; set; }

    [Section("Learning"), Option("advantage-baseline", MetaValue = "NAME", HelpText = "What a reward is compared with: batch, group, group-mean, prompt or auto. Default auto.")]
    public string? AdvantageBaseline { get; set; }

    [Section("Learning"), Option("kl-weight", MetaValue = "X", HelpText = "Weight of the KL divergence to the base model (nft: of the squared distance to its output). Default 0; Flow-GRPO's paper takes 0.04.")]
    public double? KlWeight { get; set; }

    [Section("Learning"), Option("noise-window", MetaValue = "N", HelpText = "Only N steps are noisy and trained on, the others deterministic (DDIM and flows); the window slides from noise to image (MixGRPO). 0 for all. Default 4 (other methods than ddpo, reinforce and flow-grpo: 0).")]
    public int? NoiseWindow { get; set; }

    [Section("Learning"), Option("noise-window-interval", MetaValue = "N", HelpText = "Epochs between two moves of that window; 0 for one that stays at the first steps, which decide what is in the picture. Default 0 (other methods than ddpo, reinforce and flow-grpo: 5).")]
    public int? NoiseWindowInterval { get; set; }

    [Section("Learning"), Option("nft-beta", MetaValue = "X", HelpText = "nft: how far its two implicit policies lie from the old one; smaller is stronger. Default 1.")]
    public double? NftBeta { get; set; }

    [Section("Learning"), Option("ema", MetaValue = "X", HelpText = "Decay of the moving average of the parameters that is shipped, 0 to below 1. Default 0, none.")]
    public double? Ema { get; set; }

    [Section("Preferences"), Option("preferences", MetaValue = "STORE", HelpText = "People's choices to learn from, a folder that 'ortrlhf label' made or a server; d3po needs candidates with their trajectories, the others images alone. Default none: the reward chooses among candidates drawn each epoch.")]
    public string? Preferences { get; set; }

    [Section("Preferences"), Option("expert-weights", Separator = ',', MetaValue = "A=X,B=Y", HelpText = "Factors on those choices by what was judged (quality=1,taste=0.5) or by rater; 0 leaves them out.")]
    public IEnumerable<string> ExpertWeights { get; set; } = [];

    [Section("Preferences"), Option("rater", MetaValue = "NAME", HelpText = "Which choices a reward makes among a prompt's candidates, in a person's place: best-worst, one a prompt, or top-bottom, half as many as candidates. Default best-worst.")]
    public string? Rater { get; set; }

    [Section("Preferences"), Option("experts", MetaValue = "NAME", HelpText = "How the parts of the reward come to one opinion: sum, or vote, where each ranks the candidates and ranks are summed by weight. Default sum.")]
    public string? Experts { get; set; }

    [Section("Preferences"), Option("beta", MetaValue = "X", HelpText = "How strongly the reference holds. Default 0.1 (dpo: 200; ipo, kto: 2000; on large models the papers take 2000 to 5000).")]
    public double? Beta { get; set; }

    [Section("Preferences"), Option("reference", MetaValue = "NAME", HelpText = "d3po: what the policy is held to, base, the model without adapters, or round, the policy that drew the candidates. Default base.")]
    public string? Reference { get; set; }

    [Section("Preferences"), Option("temperature", MetaValue = "X", HelpText = "rwr: an image one deviation better counts e^(1/X) times as much. Default 0.5.")]
    public double? Temperature { get; set; }

    [Section("Learning"), Option("population", MetaValue = "N", HelpText = "es: members of a generation, even, a divisor of the images. Default 16.")]
    public int? Population { get; set; }

    [Section("Learning"), Option("sigma", MetaValue = "X", HelpText = "es: deviation of the perturbations. Default 0.03.")]
    public double? Sigma { get; set; }

    [Section("Adapters"), Option("lora-rank", MetaValue = "N", HelpText = "Rank of the adapters. Default 8.")]
    public int? LoraRank { get; set; }

    [Section("Adapters"), Option("lora-alpha", MetaValue = "X", HelpText = "Their output is scaled by alpha/rank. Default the rank.")]
    public double? LoraAlpha { get; set; }

    [Section("Adapters"), Option("lora-targets", Separator = ',', MetaValue = "A,B", HelpText = "Layers with adapters, ends of module paths, * for any part. Default to_q,to_k,to_v,to_out.0; of transformers also add_q_proj,add_k_proj,add_v_proj,to_add_out,norm1.linear,norm1_context.linear.")]
    public IEnumerable<string> LoraTargets { get; set; } = [];

    [Section("Adapters"), Option("init-adapter", MetaValue = "FILE", HelpText = "Go on from an adapter, .onnx_adapter or .safetensors (diffusers', PEFT's or kohya's names), with its layers and the rank of each. What the run is compared with stays the model without adapters.")]
    public string? InitAdapter { get; set; }

    [Section("Evaluation and files"), Option("evaluation-images", MetaValue = "N", HelpText = "Held-out images before and after. Default 256.")]
    public int? EvaluationImages { get; set; }

    [Section("Evaluation and files"), Option("evaluation-sampler", MetaValue = "NAME", HelpText = "Sampler of those images, as --sampler. Default that of training; of flows euler.")]
    public string? EvaluationSampler { get; set; }

    [Section("Evaluation and files"), Option("evaluation-steps", MetaValue = "N", HelpText = "Steps of those images. Default as in training; of flows at least 20.")]
    public int? EvaluationSteps { get; set; }

    [Section("Evaluation and files"), Option("evaluate-every", MetaValue = "N", HelpText = "Evaluate every N epochs too. Default 0, never.")]
    public int? EvaluateEvery { get; set; }

    [Section("Evaluation and files"), Option("evaluation-seed", MetaValue = "N", HelpText = "Seed of the first held-out image; the same for all runs that are to be compared. Default 1000000.")]
    public ulong? EvaluationSeed { get; set; }

    [Section("Evaluation and files"), Option("samples-every", MetaValue = "N", HelpText = "Write a sheet of images at fixed seeds every N epochs. Default 5; 0 for none.")]
    public int? SamplesEvery { get; set; }

    [Section("Evaluation and files"), Option("sample-images", MetaValue = "N", HelpText = "Images of that sheet, and pairs in the report. Default 12.")]
    public int? SampleImages { get; set; }

    [Section("Evaluation and files"), Option("checkpoint-every", MetaValue = "N", HelpText = "Write a checkpoint every N epochs. Default 1.")]
    public int? CheckpointEvery { get; set; }

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        if (Resume is not null) return Continue(Resume, cancellation);
        if (InitAdapter is not null && (LoraRank is not null || LoraAlpha is not null || LoraTargets.Any()))
            throw new UsageError("tune: --init-adapter brings its layers and ranks; leave out --lora-rank, --lora-alpha and --lora-targets");
        var options = ToOptions();
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UsageError("tune: " + string.Join("; ", faults));
        OutputPlace.RequireFolder("output", options.Output);
        return TuneScreen.Show(options.Output, environment => TuningRun.Execute(options, environment, cancellation));
    }

    private int Continue(string run, CancellationToken cancellation)
    {
        if (Verbs.Given(this).FirstOrDefault(option => option is not ("resume" or "epochs")) is { } other)
            throw new UsageError($"tune: --resume takes the options of '{run}', from its options.json; leave out {(other == "MODEL" ? other : "--" + other)}, only --epochs may change");
        if (Epochs < 1) throw new UsageError($"tune: --epochs: expected at least 1, got {Epochs}");
        return TuneScreen.Show(run, environment => TuningRun.Resume(run, environment, Epochs, cancellation));
    }

    private TuningOptions ToOptions()
    {
        var d = TuningOptions.For(EnumName.Of<TuningMethod>("method", Method) ?? TuningMethod.Ddpo);
        var sampling = ToTrainedSampling(Model, d.Sampling);
        return d with
        {
            Model = Model ?? d.Model,
            Reward = Reward ?? d.Reward,
            Watch = Watch.Any() ? [.. Watch] : d.Watch,
            Output = Output ?? NewFolder(d.Method),
            Epochs = Epochs ?? d.Epochs,
            Seed = Seed ?? d.Seed,
            Prompts = Prompts,
            HeldOutPrompts = HeldOutPrompts,
            PromptKinds = PromptKinds.Any() ? [.. PromptKinds.Select(kind => EnumName.Of<SceneKind>("prompt-kinds", kind)!.Value)] : d.PromptKinds,
            Images = Images ?? d.Images,
            PromptsPerEpoch = GroupSize is null ? PromptsPerEpoch ?? DefaultPrompts(d) : DefaultPrompts(d),
            Sampling = sampling,
            ModelOptions = ToModel(d.ModelOptions),
            LearningRate = LearningRate ?? d.LearningRate,
            WarmupUpdates = WarmupUpdates ?? d.WarmupUpdates,
            LearningRateDecay = EnumName.Of<LearningRateDecay>("learning-rate-decay", LearningRateDecay) ?? d.LearningRateDecay,
            WeightDecay = WeightDecay ?? d.WeightDecay,
            MaxGradientNorm = MaxGradientNorm ?? d.MaxGradientNorm,
            UpdatesPerPass = UpdatesPerPass ?? d.UpdatesPerPass,
            Passes = Passes ?? d.Passes,
            TimestepFraction = TimestepFraction ?? d.TimestepFraction,
            StepWeighting = EnumName.Of<StepWeighting>("step-weighting", StepWeighting) ?? d.StepWeighting,
            MicroBatch = MicroBatch ?? d.MicroBatch,
            ClipRange = ClipRange ?? d.ClipRange,
            AdvantageClip = AdvantageClip ?? d.AdvantageClip,
            AdvantageBaseline = EnumName.Of<AdvantageBaseline>("advantage-baseline", AdvantageBaseline) ?? d.AdvantageBaseline,
            KlWeight = KlWeight ?? d.KlWeight,
            SharedInitialNoise = SharedInitialNoise,
            NoiseWindow = NoiseWindow ?? DefaultWindow(d, sampling),
            NoiseWindowInterval = NoiseWindowInterval ?? d.NoiseWindowInterval,
            NftBeta = NftBeta ?? d.NftBeta,
            Preferences = Preferences,
            ExpertWeights = OrtRlhf.Cli.CommandLine.ExpertWeights.Parse(ExpertWeights),
            Rater = EnumName.Of<RaterRule>("rater", Rater) ?? d.Rater,
            Experts = EnumName.Of<ExpertRule>("experts", Experts) ?? d.Experts,
            Beta = Beta ?? d.Beta,
            Reference = EnumName.Of<PreferenceReference>("reference", Reference) ?? d.Reference,
            Temperature = Temperature ?? d.Temperature,
            Ema = Ema ?? d.Ema,
            Population = Population ?? d.Population,
            Sigma = Sigma ?? d.Sigma,
            LoraRank = LoraRank ?? d.LoraRank,
            LoraAlpha = LoraAlpha ?? d.LoraAlpha,
            LoraTargets = LoraTargets.Any() ? [.. LoraTargets] : d.LoraTargets,
            InitAdapter = InitAdapter,
            EvaluationSampler = ToSampler("evaluation-sampler", EvaluationSampler) ?? d.EvaluationSampler,
            EvaluationSteps = EvaluationSteps ?? d.EvaluationSteps,
            EvaluationImages = EvaluationImages ?? d.EvaluationImages,
            EvaluateEvery = EvaluateEvery ?? d.EvaluateEvery,
            EvaluationSeed = EvaluationSeed ?? d.EvaluationSeed,
            SamplesEvery = SamplesEvery ?? d.SamplesEvery,
            SampleImages = SampleImages ?? d.SampleImages,
            CheckpointEvery = CheckpointEvery ?? d.CheckpointEvery,
            Session = ToSession(),
        };
    }

    // Groups of the method's size, or of the next larger one that divides the images; with es a few prompts, the same for every member of a generation.
    private int DefaultPrompts(TuningOptions defaults)
    {
        var images = Images ?? defaults.Images;
        if (GroupSize is { } size)
        {
            if (PromptsPerEpoch is not null) throw new UsageError("tune: --group-size and --prompts-per-epoch say the same; leave one out");
            return size >= 1 && images % size == 0 ? images / size : throw new UsageError($"tune: --group-size: expected a divisor of {images}, the images, got {size}");
        }
        if (defaults.Method != TuningMethod.Es) return Enumerable.Range(1, Math.Max(1, images / (defaults.Images / defaults.PromptsPerEpoch))).Last(n => images % n == 0);
        var each = Math.Max(1, images / Math.Max(1, Population ?? defaults.Population));
        return each % defaults.PromptsPerEpoch == 0 ? defaults.PromptsPerEpoch : each;
    }

    // As wide as the method's, but no wider than the steps allow; none for a sampler whose steps are all noisy.
    private static int DefaultWindow(TuningOptions defaults, SamplingOptions sampling) =>
        sampling.Sampler == SamplerKind.Ddpm ? 0 : Math.Min(defaults.NoiseWindow, Math.Max(0, sampling.Steps - 1));

    private static string NewFolder(TuningMethod method)
    {
        var name = $"{DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}-{EnumName.Write(method)}";
        return Enumerable.Range(1, int.MaxValue).Select(n => Path.Combine("artifacts", "runs", $"{name}-{n}")).First(path => !Directory.Exists(path));
    }
}
