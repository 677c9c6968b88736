using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Serialization;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Scenes;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>
/// What every run has, whatever its method: what options.json holds, resolved. Each method has a record of its own that derives from this
/// one, and
/// <c>new</c> of that record is its default. A property is an option of the command line by its name in kebab case; its range is its
/// attribute, its
/// explanation its comment. Two runs of equal options on one machine give the same metrics and the same adapter.
/// </summary>
public abstract record TuningOptions
{
    private protected const string PromptsAndImages = "Prompts and images", Learning = "Learning", Adapters = "Adapters",
        Files = "Evaluation and files";
    private const int LeastFlowSteps = 20;

    /// <summary>Name of the method, as in the table of methods.</summary>
    [JsonPropertyOrder(-1)]
    public abstract string Method { get; }

    /// <summary>Folder of the model.</summary>
    public string Model { get; init; } = "models/shapes";

    /// <summary>How the model is read.</summary>
    public ModelOptions ModelOptions { get; init; } = new();

    /// <summary>
    /// What to raise: a weighted sum of rewards. An argument (NAME:ARGUMENT#OPTION=VALUE) ends at a blank, + or *, or stands in quotes.
    /// </summary>
    [Display(Prompt = "SUM")]
    public string Reward { get; init; } = "jpeg-compressibility+1.5*prompt-alignment";

    /// <summary>Rewards to score and report but not to train on. By default all that fit every prompt.</summary>
    public IReadOnlyList<string>? Watch { get; init; }

    /// <summary>Folder of the run.</summary>
    public string Output { get; init; } = "runs/tune";

    /// <summary>
    /// Times to sample, score and update. With a run that resumes: the new total, to which a falling learning rate is fitted from then on.
    /// </summary>
    [Range(1, 1_000_000)]
    public int Epochs { get; init; } = 42;

    /// <summary>Seed of the run, but not of its evaluation; the same seed gives the same metrics.</summary>
    public ulong Seed { get; init; }

    /// <summary>
    /// Prompt file, one prompt or template such as 'a {red|blue} circle' a line. By default captions of drawn scenes, or nothing for a
    /// model without prompts.
    /// </summary>
    [Category(PromptsAndImages), Display(Prompt = "FILE")]
    public string? Prompts { get; init; }

    /// <summary>File of prompts to evaluate on. By default some of the prompts, which are then not trained on.</summary>
    [Category(PromptsAndImages), Display(Prompt = "FILE")]
    public string? HeldOutPrompts { get; init; }

    /// <summary>Kinds of captions when there is no prompt file.</summary>
    [Category(PromptsAndImages)]
    public IReadOnlyList<SceneKind> PromptKinds { get; init; } = Enum.GetValues<SceneKind>();

    /// <summary>Images sampled and scored an epoch.</summary>
    [Category(PromptsAndImages), Range(2, 1_000_000)]
    public int Images { get; init; } = 64;

    /// <summary>Prompts drawn an epoch, a divisor of the images; fewer than images give groups of images to compare.</summary>
    [Category(PromptsAndImages)]
    public int PromptsPerEpoch { get; init; } = 64;

    /// <summary>Whether the images of a prompt begin from the same noise, and differ by the steps' alone.</summary>
    [Category(PromptsAndImages)]
    public bool SharedInitialNoise { get; init; }

    /// <summary>How images are sampled, in training and, but for what follows, in evaluation.</summary>
    public SamplingOptions Sampling { get; init; } = new();

    /// <summary>Sampler of the evaluation. By default that of training; of flows euler, whose steps are deterministic.</summary>
    [Category(Files)]
    public SamplerKind? EvaluationSampler { get; init; }

    /// <summary>Steps of the evaluation. By default those of training; of flows at least 20.</summary>
    [Category(Files), Range(1, 1000)]
    public int? EvaluationSteps { get; init; }

    /// <summary>How images are sampled in evaluation.</summary>
    [JsonIgnore]
    public SamplingOptions EvaluationSampling => Sampling with
    {
        Sampler = EvaluationSampler ?? Sampling.Sampler,
        Steps = EvaluationSteps ?? Sampling.Steps,
        NoiseLevel = EvaluationSampler is null || EvaluationSampler == Sampling.Sampler ? Sampling.NoiseLevel : null,
    };

    /// <summary>Peak learning rate. By default what suits the method and the kind of model.</summary>
    [Category(Learning), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double? LearningRate { get; init; }

    /// <summary>Updates over which the learning rate rises from 0.</summary>
    [Category(Learning), Range(0, int.MaxValue)]
    public int WarmupUpdates { get; init; }

    /// <summary>What the learning rate does after that, until the last epoch: constant, linear or cosine.</summary>
    [Category(Learning)]
    public LearningRateDecay LearningRateDecay { get; init; } = LearningRateDecay.Linear;

    /// <summary>AdamW's weight decay.</summary>
    [Category(Learning), Range(0, double.MaxValue)]
    public double WeightDecay { get; init; } = 1e-4;

    /// <summary>Longer gradients are cut to this norm.</summary>
    [Category(Learning), Range(0, double.PositiveInfinity, MinimumIsExclusive = true)]
    public double MaxGradientNorm { get; init; } = 1;

    /// <summary>Decay of the moving average of the parameters, which is then what is evaluated and shipped; 0 for none.</summary>
    [Category(Learning), Range(0, 1.0, MaximumIsExclusive = true)]
    public double Ema { get; init; }

    /// <summary>Rank of the adapters.</summary>
    [Category(Adapters), Range(1, 4096)]
    public int LoraRank { get; init; } = 8;

    /// <summary>Their output is scaled by alpha/rank. By default the rank.</summary>
    [Category(Adapters), Range(0, double.MaxValue, MinimumIsExclusive = true)]
    public double? LoraAlpha { get; init; }

    /// <summary>
    /// Layers with adapters, ends of module paths, * for any part. By default to_q,to_k,to_v,to_out.0; of transformers also
    /// add_q_proj,add_k_proj,add_v_proj,to_add_out,norm1.linear,norm1_context.linear.
    /// </summary>
    [Category(Adapters)]
    public IReadOnlyList<string>? LoraTargets { get; init; }

    /// <summary>
    /// Adapter to go on from, .onnx_adapter or .safetensors (diffusers', PEFT's or kohya's names), with its layers and the rank of each.
    /// What the run is
    /// compared with stays the model without adapters.
    /// </summary>
    [Category(Adapters), Display(Prompt = "FILE")]
    public string? InitAdapter { get; init; }

    /// <summary>Held-out images before and after.</summary>
    [Category(Files), Range(2, 1_000_000)]
    public int EvaluationImages { get; init; } = 256;

    /// <summary>Evaluate every so many epochs too; 0 for never.</summary>
    [Category(Files), Range(0, int.MaxValue)]
    public int EvaluateEvery { get; init; }

    /// <summary>Seed of the first held-out image, the next image has the next; the same for all runs that are to be compared.</summary>
    [Category(Files)]
    public ulong EvaluationSeed { get; init; } = 1_000_000;

    /// <summary>Write a sheet of images at fixed seeds every so many epochs; 0 for none.</summary>
    [Category(Files), Range(0, int.MaxValue)]
    public int SamplesEvery { get; init; } = 5;

    /// <summary>Images of that sheet, and pairs in the report.</summary>
    [Category(Files), Range(1, 64)]
    public int SampleImages { get; init; } = 12;

    /// <summary>Write a checkpoint every so many epochs.</summary>
    [Category(Files), Range(1, int.MaxValue)]
    public int CheckpointEvery { get; init; } = 1;

    /// <summary>Device and threads.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>Optimizer steps of an epoch.</summary>
    [JsonIgnore]
    internal virtual int UpdatesPerEpoch => 1;

    /// <summary>Optimizer steps of the run.</summary>
    internal int TotalUpdates => Limited((long)Epochs * UpdatesPerEpoch);

    /// <summary>Images among which an epoch's prompts are shared out.</summary>
    internal virtual int SharedImages => Images;

    /// <summary>Images that share a prompt in an epoch.</summary>
    internal int ImagesPerPrompt => SharedImages / Math.Max(1, PromptsPerEpoch);

    /// <summary>
    /// Prompts for so many images where none are given: groups of this record's size, or of the next larger one that divides the images.
    /// </summary>
    /// <param name="images">Images an epoch.</param>
    public virtual int PromptsFor(int images) =>
        Enumerable.Range(1, Math.Max(1, images / Math.Max(1, Images / PromptsPerEpoch))).Last(n => images % n == 0);

    /// <summary>Whether the method trains on the sampler's steps, which must have a density.</summary>
    internal virtual bool TrainsOnSteps => false;

    /// <summary>The method, ready to learn; called on the record that is resolved for the model.</summary>
    /// <param name="parts">What it works with.</param>
    /// <exception cref="UserError">The model cannot be differentiated.</exception>
    internal abstract ITuningMethod Create(TuningParts parts);

    /// <summary>The learning rate where none is given.</summary>
    /// <param name="flow">Whether the model is a flow.</param>
    public abstract double DefaultLearningRate(bool flow);

    /// <summary>The sampler of a flow where none is given.</summary>
    internal virtual SamplerKind DefaultFlowSampler => SamplerKind.Euler;

    /// <summary>The pipeline of an epoch.</summary>
    /// <param name="pipeline">That of the run.</param>
    /// <param name="epoch">From 1.</param>
    internal virtual Pipeline SamplerOf(Pipeline pipeline, int epoch) => pipeline;

    /// <summary>The same with the defaults that depend on the model.</summary>
    /// <param name="model">The model.</param>
    public TuningOptions ResolvedFor(ImageModel model)
    {
        var sampler = Sampling.Sampler != SamplerKind.Auto ? Sampling.Sampler : model.Flow is null ? SamplerKind.Ddim : DefaultFlowSampler;
        return WithSampling(Sampling with { Sampler = sampler, ClipSample = TrainsOnSteps ? false : Sampling.ClipSample }) with
        {
            EvaluationSampler = EvaluationSampler ?? (model.Flow is null ? sampler : SamplerKind.Euler),
            EvaluationSteps = EvaluationSteps ?? (model.Flow is null ? Sampling.Steps : Math.Max(Sampling.Steps, LeastFlowSteps)),
            LearningRate = LearningRate ?? DefaultLearningRate(model.Flow is not null),
            LoraTargets = LoraTargets ?? LoraOptions.TargetsFor(model.DenoiserName),
        };
    }

    /// <summary>The same with another sampling, and what depends on it.</summary>
    internal virtual TuningOptions WithSampling(SamplingOptions sampling) => this with { Sampling = sampling };

    /// <summary>
    /// All faults, properties in backquotes; none when all is well. What needs the model or files is checked when the run starts.
    /// </summary>
    public virtual IEnumerable<string> Faults()
    {
        if (Model.Length == 0) yield return "`Model`: expected a folder, got nothing";
        if (Output.Length == 0) yield return "`Output`: expected a folder, got nothing";
        foreach (var fault in OptionRange.Faults(this).Concat(Sampling.Faults()).Concat(ModelOptions.Faults())
            .Concat(Session.Faults())) yield return fault;
        if (PromptsPerEpoch < 1 || PromptsPerEpoch > SharedImages || SharedImages % PromptsPerEpoch != 0)
            yield return $"`PromptsPerEpoch`: expected a divisor of {SharedImages}, the "
                + $"images{(SharedImages < Images ? " of a member" : "")}, got {PromptsPerEpoch}";
        if (Prompts is null && PromptKinds.Count == 0) yield return "`PromptKinds`: expected at least one kind, got none";
        if (LearningRateDecay != LearningRateDecay.Constant && WarmupUpdates > 0 && WarmupUpdates >= TotalUpdates)
            yield return $"`WarmupUpdates`: expected fewer than the {TotalUpdates} updates of the run, got {WarmupUpdates}";
        if (LoraTargets is { Count: 0 }) yield return "`LoraTargets`: expected at least one module path, got none";
        if (!TrainsOnSteps) yield break;
        if (Sampling.Sampler == SamplerKind.DpmSolver)
            yield return "`Sampler`: expected ddim or ddpm, got dpm-solver++: a solver's steps have no density for a policy gradient; "
                + "take the method es";
        if (Sampling.Sampler is SamplerKind.Euler or SamplerKind.AdamsBashforth)
            yield return "`Sampler`: expected flow-grpo, dance-grpo, cps or noisy-euler, got a deterministic one, whose steps have no "
                + "density for a policy "
                + "gradient; `EvaluationSampler` may be deterministic";
        if (Sampling.ClipSample == true)
            yield return "`ClipSample`: expected false, got true: a clamped mean is not linear in the model's output; leave it out, or "
                + "take the method es";
        if (Sampling is { Eta: 0, Sampler: SamplerKind.Ddim or SamplerKind.Auto })
            yield return "`Eta`: expected more than 0, got 0: without noise the steps have no density for a policy gradient; take 1, or "
                + "the method es";
    }

    private protected static int Limited(long count) => (int)Math.Min(int.MaxValue, count);
}
