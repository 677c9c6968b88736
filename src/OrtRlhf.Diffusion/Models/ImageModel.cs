using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Models;

/// <summary>Sizes of a latent, [C,H,W].</summary>
/// <param name="Channels">C.</param>
/// <param name="Height">H, cells.</param>
/// <param name="Width">W, cells.</param>
public readonly record struct LatentSize(int Channels, int Height, int Width)
{
    /// <summary>C*H*W, the elements that a log-probability is the mean over.</summary>
    public int Count => Channels * Height * Width;

    /// <inheritdoc/>
    public override string ToString() => $"{Channels}x{Height}x{Width}";
}

/// <summary>
/// An image model as its parts: text encoders (none for a model without prompts), denoiser, decoder (none for one that denoises pixels) and
/// a noise schedule.
/// Graphs are made anew at each call, so that the caller may change them.
/// </summary>
public sealed record ImageModel
{
    /// <summary>Name for messages and reports, the folder's.</summary>
    public required string Name { get; init; }

    /// <summary>The folder it came from.</summary>
    public required string Folder { get; init; }

    /// <summary>Noise schedule and prediction type of a diffusion model; null of a flow.</summary>
    public SchedulerConfig? Scheduler { get; init; }

    /// <summary>Times of a flow; null of a diffusion model.</summary>
    public FlowSchedule? Flow { get; init; }

    /// <summary>
    /// How a flow's sampling times are spaced; default as diffusers' scheduler spaces them, FLUX' pipeline has them even.
    /// </summary>
    public FlowSpacing FlowSpacing { get; init; }

    /// <summary>
    /// The forward process at a time of a sampler's step (<see cref="GaussianStep.Time"/>): what losses on clean samples are trained with.
    /// </summary>
    public Func<double, ForwardStep> Forward()
    {
        if (Flow is { } flow) return time => ForwardStep.Of(flow, time / flow.Config.TrainTimesteps);
        var schedule = new NoiseSchedule(Scheduler
            ?? throw new InvalidOperationException("the model has neither a noise schedule nor a flow's"));
        return time => ForwardStep.Of(schedule, (long)time);
    }

    /// <summary>Sizes of the latent that makes an image of the model's own size.</summary>
    public required LatentSize Latent { get; init; }

    /// <summary>Text encoders, whose states are joined; none for a model without prompts.</summary>
    public required IReadOnlyList<TextEncoder> TextEncoders { get; init; }

    /// <summary>Whether it draws prompts.</summary>
    public bool IsConditional => TextEncoders.Count > 0;

    /// <summary>
    /// Whether a row without a prompt has zeros for the text (diffusers' <c>force_zeros_for_empty_prompt</c>), and not the states of "".
    /// </summary>
    public bool ZerosWithoutPrompt { get; init; }

    /// <summary>
    /// The denoiser's input for a vector of the whole text: <c>text_embeds</c> of Stable Diffusion XL, <c>pooled_projections</c> of 3 and
    /// FLUX; null where it takes none.
    /// </summary>
    public string? PooledInput { get; init; }

    /// <summary>Whether the denoiser takes <c>time_ids</c>, as Stable Diffusion XL's does.</summary>
    public bool TakesSizes { get; init; }

    /// <summary>
    /// Whether it is a model whose guidance is not classifier-free, as FLUX is: the scale is a number it was distilled with (or has no
    /// effect), and only
    /// <see cref="SamplingOptions.TrueCfgScale"/> runs it without the prompt, too.
    /// </summary>
    public bool IsDistilled { get; init; }

    /// <summary>Whether the denoiser takes that number, <c>guidance</c>.</summary>
    public bool TakesGuidance { get; init; }

    /// <summary>The denoiser's name in its pipeline, <c>unet</c> or <c>transformer</c>.</summary>
    public string DenoiserName { get; init; } = "unet";

    /// <summary>Put before the paths of its modules in the names of adapters' tensors.</summary>
    public string AdapterPrefix => DenoiserName + ".";

    /// <summary>
    /// Denoiser: <c>sample</c> [B,C,H,W], <c>timestep</c> [B] (int64, of a flow Float: T times its t) and the fields of
    /// <see cref="TextEmbeddings"/> to
    /// <c>out_sample</c> [B,C,H,W]; all but the timestep Float. The argument is B, a number for training.
    /// </summary>
    public required Func<Dim, OnnxGraph> Denoiser { get; init; }

    /// <summary>Precision that the denoiser computes in; its inputs and output are Float all the same.</summary>
    public Precision Dtype { get; init; }

    /// <summary>
    /// Image decoder: <c>latent_sample</c> [B,C,H,W] to <c>sample</c> [B,3,8H,8W] or so, nominally in [-1,1]. The argument is B. Null where
    /// the latents are the
    /// pixels.
    /// </summary>
    public required Func<Dim, OnnxGraph>? Decoder { get; init; }

    /// <summary>Pixels of an image for each cell of its latent, along one side; 1 where the latents are the pixels.</summary>
    public int PixelsPerCell { get; init; } = 1;

    /// <summary>Size of the images.</summary>
    public Pixels ImageSize => new(Latent.Height * PixelsPerCell, Latent.Width * PixelsPerCell);

    /// <summary>
    /// Image encoder: <c>sample</c> [B,3,H,W] in [-1,1] to <c>latent_parameters</c> [B,2C,h,w] (means, then log-variances) or, of an
    /// autoencoder without
    /// variance, <c>latent_sample</c> [B,C,h,w]. The argument is B. Null for a folder of exported graphs.
    /// </summary>
    public Func<Dim, OnnxGraph>? Encoder { get; init; }

    /// <summary>Latents are divided by this before they are decoded; diffusers' <c>scaling_factor</c>, default 1.</summary>
    public double ScalingFactor { get; init; } = 1;

    /// <summary>Added after that division; diffusers' <c>shift_factor</c>, default 0.</summary>
    public double ShiftFactor { get; init; }

    /// <summary>
    /// Opens a pipeline folder: model_index.json, scheduler, tokenizers, text encoders, unet or transformer (Stable Diffusion 3, FLUX) and
    /// vae in diffusers'
    /// layout, or graphs in Optimum's (<c>unet/model.onnx</c>, <c>text_encoder/model.onnx</c>, <c>vae_decoder/model.onnx</c>). A
    /// UNet2DModel needs no text and
    /// no vae. Weights are read when a graph is made.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="options">How to read it; null for the defaults.</param>
    /// <exception cref="UserError">A component is missing, damaged, of a class that is not supported, or does not fit the
    /// others.</exception>
    public static ImageModel Open(string folder, ModelOptions? options = null) => ImageModelFolder.Open(folder, options ?? new());
}
