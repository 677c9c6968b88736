using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;

namespace OrtRlhf.Cli.Commands;

/// <summary>What commands that run a model have in common: the model, how it is sampled, and on what.</summary>
internal abstract class ModelCommand : ICommand
{
    private const string Sampling = "Sampling", Device = "Device";

    [Value(0, MetaName = "MODEL",
        HelpText = "Folder of a model, in diffusers' or Optimum's layout. Default models/shapes, which ships, as models/shapes-flow does.")]
    public string? Model { get; set; }

    [Section(Sampling), Option("sampler", MetaValue = "NAME", HelpText = "Of diffusion models ddim; ddpm (ancestral, the scheduler's "
        + "variance); or dpm-solver++ (deterministic). Of flows euler or adams-bashforth (second order), both deterministic; or with "
        + "noise, to train policy gradients on, flow-grpo, dance-grpo, cps (coefficient-preserving) or noisy-euler. Default ddim, of "
        + "flows euler; policy gradients train on cps in a noise window that stays at the first steps, else on flow-grpo.")]
    public string? SamplerName { get; set; }

    [Section(Sampling), Option("steps", MetaValue = "N", HelpText = "Steps from noise to image. Default 10.")]
    public int? Steps { get; set; }

    [Section(Sampling), Option("eta", MetaValue = "X", HelpText = "Noise of DDIM's steps: 0 deterministic, 1 as DDPO. Default 1.")]
    public double? Eta { get; set; }

    [Section(Sampling), Option("noise-level", MetaValue = "X",
        HelpText = "Noise of a flow's noisy steps. Default 0.7 for flow-grpo, 0.3 for dance-grpo, 0.6 for cps, 0.1 for noisy-euler.")]
    public double? NoiseLevel { get; set; }

    [Section(Sampling), Option("guidance-scale", MetaValue = "X", HelpText = "Classifier-free guidance; 1 for none, which takes half the "
        + "time. Default 3, and 1 to learn from what the models that ship draw (tune, label, reward train); models without prompts have "
        + "none, and FLUX takes it as a number.")]
    public double? GuidanceScale { get; set; }

    [Section(Sampling),
        Option("true-cfg-scale", MetaValue = "X", HelpText = "FLUX: classifier-free guidance beside that number. Default 1, none.")]
    public double? TrueCfgScale { get; set; }

    [Section(Sampling), Option("image-size", MetaValue = "HxW", HelpText = "Size of the images in pixels. Default the model's.")]
    public string? ImageSize { get; set; }

    [Section(Sampling), Option("max-sequence-length", MetaValue = "N",
        HelpText = "Tokens of T5's text. Default 256 for Stable Diffusion 3, 512 for FLUX, as in their pipelines.")]
    public int? MaxSequenceLength { get; set; }

    [Section(Sampling), Option("clip-sample", MetaValue = "BOOL", HelpText = "Clamp the predicted image at each step: true or false. "
        + "Default as the model's scheduler says; policy gradients never do.")]
    public bool? ClipSample { get; set; }

    [Section(Sampling), Option("clip-skip", MetaValue = "N",
        HelpText = "Layers of the text encoder to leave out at the end, as some models ask for. Default 0.")]
    public int? ClipSkip { get; set; }

    [Section(Sampling), Option("original-size", MetaValue = "HxW", HelpText = "Stable Diffusion XL: size in pixels that the picture is "
        + "said to be cut from; a small one gives blur. Default the image's.")]
    public string? OriginalSize { get; set; }

    [Section(Sampling), Option("crop", MetaValue = "TOPxLEFT",
        HelpText = "Stable Diffusion XL: where it is said to be cut. Default 0x0, which keeps things whole.")]
    public string? Crop { get; set; }

    [Section(Sampling), Option("target-size", MetaValue = "HxW",
        HelpText = "Stable Diffusion XL: size that the picture is said to be meant for. Default the image's.")]
    public string? TargetSize { get; set; }

    [Section(Sampling), Option("batch-size", MetaValue = "N", HelpText = "Images sampled together; less needs less memory. Default 16.")]
    public int? BatchSize { get; set; }

    [Section(Device), Option("device", MetaValue = "NAME",
        HelpText = "cpu, cuda or webgpu; 'ortrlhf doctor' says which work here. Default cpu.")]
    public string? DeviceName { get; set; }

    [Section(Device), Option("threads", MetaValue = "N", HelpText = "Threads. Default 0, one a core.")]
    public int? Threads { get; set; }

    [Section(Device), Option("workers", MetaValue = "N", HelpText = "Parts of a batch that are worked on side by side, each with its "
        + "share of the threads. Default one a thread where a batch has as many rows or the model is small (64 MiB), else 1.")]
    public int? Workers { get; set; }

    [Section(Device), Option("dtype", MetaValue = "NAME", HelpText = "Precision of the denoiser's weights: fp32, or fp16 (half their "
        + "memory; all is computed in fp32, so that results stay within the rounding of the weights). Default fp32, which is faster.")]
    public string? Dtype { get; set; }

    [Section(Device), Option("low-memory",
        HelpText = "Weights mapped from one file, without faster copies: about half the memory, slower.")]
    public bool LowMemory { get; set; }

    /// <inheritdoc/>
    public abstract int Run(CancellationToken cancellation);

    /// <summary>How to sample: what was given, else the defaults.</summary>
    /// <exception cref="UsageError">An unknown sampler, or eta with one that has none.</exception>
    protected SamplingOptions ToSampling(SamplingOptions defaults)
    {
        var sampler = EnumName.Of<SamplerKind>("sampler", SamplerName) ?? defaults.Sampler;
        if (sampler == SamplerKind.DpmSolver
            && Eta is > 0) throw new UsageError("--eta: dpm-solver++ is deterministic; leave --eta out, or use --sampler ddim");
        if (sampler == SamplerKind.Ddpm
            && Eta is not null) throw new UsageError("--eta: ddpm has the scheduler's variance; leave --eta out, or use --sampler ddim");
        return defaults with
        {
            ClipSample = ClipSample ?? defaults.ClipSample,
            Sizes = new()
            {
                OriginalSize = ToPixels("original-size", OriginalSize) ?? defaults.Sizes.OriginalSize,
                Crop = ToPixels("crop", Crop) ?? defaults.Sizes.Crop,
                TargetSize = ToPixels("target-size", TargetSize) ?? defaults.Sizes.TargetSize,
            },
            Sampler = sampler,
            NoiseLevel = NoiseLevel ?? (sampler == defaults.Sampler ? defaults.NoiseLevel : null),
            TrueCfgScale = TrueCfgScale ?? defaults.TrueCfgScale,
            Steps = Steps ?? defaults.Steps,
            Eta = Eta ?? defaults.Eta,
            GuidanceScale = GuidanceScale ?? defaults.GuidanceScale,
            BatchSize = BatchSize ?? defaults.BatchSize,
        };
    }

    /// <summary>
    /// The same for images to learn from. The pipelines that ship draw well without guidance, which takes half the time and lets the reward
    /// of an image say more about the adapters.
    /// </summary>
    /// <inheritdoc cref="ToSampling"/>
    protected SamplingOptions ToTrainedSampling(string? model, SamplingOptions defaults) =>
        ToSampling(ModelFolder.IsShipped(model) ? defaults with { GuidanceScale = 1 } : defaults);

    /// <summary>The same with what an adapter brings: one of a run samples as the run did.</summary>
    /// <inheritdoc cref="ToSampling"/>
    protected SamplingOptions ToTrainedSampling(string? model, AdaptedModel source) =>
        source.Run is null ? ToTrainedSampling(model, source.Options.Sampling) : ToSampling(source.Options.Sampling);

    /// <summary>How to read the model.</summary>
    protected ModelOptions ToModel(ModelOptions defaults)
    {
        var options = defaults with
        {
            ClipSkip = ClipSkip ?? defaults.ClipSkip,
            ImageSize = ToPixels("image-size", ImageSize) ?? defaults.ImageSize,
            MaxSequenceLength = MaxSequenceLength ?? defaults.MaxSequenceLength,
            Dtype = EnumName.Of<Precision>("dtype", Dtype) ?? defaults.Dtype,
        };
        if (options.Dtype == Precision.Fp16 && DeviceName is (null or "cpu"))
            Console.Error.WriteLine(
                "note: --dtype fp16: on a CPU it saves the memory of half the weights, not time: they are made fp32 at each use");
        return options;
    }

    private static Pixels? ToPixels(string option, string? text) =>
        text is null ? null : Pixels.Parse(text) ?? throw new UsageError($"--{option}: expected pixels such as 1024x1024, got '{text}'");

    /// <summary>What to run on.</summary>
    protected SessionSettings ToSession() =>
        new() { Device = DeviceName ?? "cpu", Threads = Threads ?? 0, Workers = Workers ?? 0, LowMemory = LowMemory };

    /// <summary>Refuses impossible values of the sampler and the device, all in one line.</summary>
    /// <exception cref="UsageError">There are some.</exception>
    protected static void Require(string verb, SamplingOptions sampling, SessionSettings session, params IEnumerable<string> others)
    {
        var faults = sampling.Faults().Concat(session.Faults()).Concat(others).ToList();
        if (faults.Count > 0) throw new UsageError($"{verb}: {string.Join("; ", faults)}");
    }
}
