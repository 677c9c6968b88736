using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Tuning.Sampling;

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
/// A latent text-to-image model as its parts: token ids, three graphs and a noise schedule. Graphs are made anew at each call, so that
/// the caller may change them.
/// </summary>
public sealed record ImageModel
{
    /// <summary>Name for messages and reports, the folder's.</summary>
    public required string Name { get; init; }

    /// <summary>The folder it came from.</summary>
    public required string Folder { get; init; }

    /// <summary>Noise schedule and prediction type.</summary>
    public required SchedulerConfig Scheduler { get; init; }

    /// <summary>Sizes of the latent that makes an image of the model's own size.</summary>
    public required LatentSize Latent { get; init; }

    /// <summary>Token ids of a prompt, padded to the text encoder's length.</summary>
    public required Func<string, long[]> Tokenize { get; init; }

    /// <summary>Text encoder: <c>input_ids</c> int64 [B,S] to <c>last_hidden_state</c> [B,S,D]. The argument is B.</summary>
    public required Func<Dim, OnnxGraph> TextEncoder { get; init; }

    /// <summary>
    /// Denoiser: <c>sample</c> [B,C,H,W], <c>timestep</c> int64 [B], <c>encoder_hidden_states</c> [B,S,D] to <c>out_sample</c> [B,C,H,W].
    /// The argument is B, a number for training.
    /// </summary>
    public required Func<Dim, OnnxGraph> Denoiser { get; init; }

    /// <summary>Image decoder: <c>latent_sample</c> [B,C,H,W] to <c>sample</c> [B,3,8H,8W] or so, nominally in [-1,1]. The argument is B.</summary>
    public required Func<Dim, OnnxGraph> Decoder { get; init; }

    /// <summary>
    /// Image encoder: <c>sample</c> [B,3,H,W] in [-1,1] to <c>latent_parameters</c> [B,2C,h,w] (means, then log-variances) or, of an autoencoder without
    /// variance, <c>latent_sample</c> [B,C,h,w]. The argument is B. Null for a folder of exported graphs.
    /// </summary>
    public Func<Dim, OnnxGraph>? Encoder { get; init; }

    /// <summary>Latents are divided by this before they are decoded; diffusers' <c>scaling_factor</c>, default 1.</summary>
    public double ScalingFactor { get; init; } = 1;

    /// <summary>Added after that division; diffusers' <c>shift_factor</c>, default 0.</summary>
    public double ShiftFactor { get; init; }

    /// <summary>
    /// Opens a pipeline folder: model_index.json, scheduler, tokenizer, text_encoder, unet and vae in diffusers' layout, or graphs in Optimum's
    /// (<c>unet/model.onnx</c>, <c>text_encoder/model.onnx</c>, <c>vae_decoder/model.onnx</c>). Weights are read when a graph is made.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="UserError">A component is missing, damaged, of a class that is not supported, or does not fit the others.</exception>
    public static ImageModel Open(string folder) => ImageModelFolder.Open(folder);
}
