using CommandLine;

namespace OrtRlhf.Pretrain;

/// <summary>What all trainings share.</summary>
internal class TrainingOptions
{
    [Option("output", Default = "artifacts/pretrain/shapes",
        HelpText = "Model folder to write, in diffusers layout; state.PART.safetensors beside it lets a broken-off training go on.")]
    public required string Output { get; init; }

    [Option("minutes", Default = 10.0, HelpText = "Length of the whole training, earlier parts of a training that goes on included.")]
    public double Minutes { get; init; }

    [Option("batch-size", Default = 16, HelpText = "Samples a worker's step.")]
    public int BatchSize { get; init; }

    [Option("learning-rate", Default = 1e-3, HelpText = "Peak of the learning rate.")]
    public double LearningRate { get; init; }

    [Option("warm-up", Default = 200, HelpText = "Steps over which the learning rate rises.")]
    public int WarmUp { get; init; }

    [Option("decay-from", Default = 0.6, HelpText = "Share of the time after which the learning rate falls, as a cosine, to a fiftieth.")]
    public double DecayFrom { get; init; }

    [Option("ema", Default = 0.999, HelpText = "Decay of the weights' moving average, which is what is written.")]
    public double Ema { get; init; }

    [Option("workers", Default = 2,
        HelpText = "Threads, each with a session and a batch of its own; a step follows the mean of their gradients.")]
    public int Workers { get; init; }

    [Option("seed", Default = 1UL, HelpText = "Seed of weights, scenes and noise.")]
    public ulong Seed { get; init; }
}

[Verb("autoencoder", HelpText = "Trains the autoencoder (vae/).")]
internal sealed class AutoencoderOptions : TrainingOptions
{
    [Option("decoder-only", HelpText = "Keeps the encoder that is there, so that denoisers trained on its latents stay valid.")]
    public bool DecoderOnly { get; init; }
}

[Verb("text", HelpText = "Trains the text encoder (text_encoder/) to know what a caption asks.")]
internal sealed class TextOptions : TrainingOptions;

/// <summary>What trainings of denoisers share.</summary>
internal abstract class DenoiserTrainingOptions : TrainingOptions
{
    [Option("fresh", Default = 4,
        HelpText = "Of every batch, this share (1/N) are scenes drawn and encoded anew; the others come from the pool of earlier ones.")]
    public int Fresh { get; init; }

    [Option("pool", Default = 200_000, HelpText = "Most scenes kept.")]
    public int Pool { get; init; }
}

[Verb("denoiser", HelpText = "Trains the denoiser (unet/) and the text encoder on latents of the autoencoder that is there.")]
internal sealed class DenoiserOptions : DenoiserTrainingOptions;

[Verb("flow", HelpText = "Trains the flow model (transformer/) and its text encoders; --output has vae/ and, best, text_encoder/ of "
    + "models/shapes to begin with.")]
internal sealed class FlowOptions : DenoiserTrainingOptions;

[Verb("clip", HelpText = "Trains a CLIP of scenes and captions (models/shapes-clip).")]
internal sealed class ClipOptions : TrainingOptions
{
    [Option("text", HelpText = "Pipeline folder whose text encoder a new text tower starts from. Default none: random weights.")]
    public string? Text { get; init; }
}

[Verb("evaluate-clip", HelpText = "Judges a CLIP on captions that its training and tuning never saw.")]
internal sealed class EvaluateClipOptions
{
    [Option("output", Default = "models/shapes-clip", HelpText = "CLIP's folder.")]
    public required string Output { get; init; }

    [Option("count", Default = 512, HelpText = "Captions, a quarter of each kind.")]
    public int Count { get; init; }

    [Option("samples", HelpText = "Model folder whose pictures are scored, too, and compared with prompt-alignment. Default none.")]
    public string? Samples { get; init; }
}

[Verb("reconstruct", HelpText = "Judges the autoencoder: PSNR, verifier on reconstructions, and a picture.")]
internal sealed class ReconstructOptions
{
    [Option("output", Default = "artifacts/pretrain/shapes", HelpText = "Model folder.")]
    public required string Output { get; init; }

    [Option("count", Default = 256, HelpText = "Scenes.")]
    public int Count { get; init; }
}

[Verb("evaluate", HelpText = "Judges the whole model: share of right images by kind of prompt, and a picture.")]
internal sealed class EvaluateOptions
{
    [Option("output", Default = "artifacts/pretrain/shapes", HelpText = "Model folder.")]
    public required string Output { get; init; }

    [Option("count", Default = 128, HelpText = "Images a kind of prompt.")]
    public int Count { get; init; }

    [Option("steps", Default = 20, HelpText = "Sampling steps.")]
    public int Steps { get; init; }

    [Option("eta", Default = 0.0, HelpText = "Noise of the steps.")]
    public double Eta { get; init; }

    [Option("guidance-scale", Default = 3.0, HelpText = "Classifier-free guidance.")]
    public double GuidanceScale { get; init; }

    [Option("threads", Default = 0, HelpText = "Threads; 0 takes one per core.")]
    public int Threads { get; init; }
}
