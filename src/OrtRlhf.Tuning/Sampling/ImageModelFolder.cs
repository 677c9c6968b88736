using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// Opens a pipeline folder as an <see cref="ImageModel"/>. Each of its components is either weights with a config.json (diffusers, transformers) or a
/// <c>model.onnx</c> (Optimum, where the decoder is <c>vae_decoder</c>); half-precision weights are widened.
/// </summary>
internal static class ImageModelFolder
{
    public static ImageModel Open(string folder, ModelOptions options)
    {
        var index = ModelIndex.Open(folder);
        foreach (var other in (string[])["transformer", "text_encoder_3", "prior", "vqvae", "image_encoder"])
        {
            if (index.Has(other))
                throw new UserError($"model '{folder}': {index.Pipeline} has a component {other}; expected a pipeline of tokenizer, text_encoder, unet, vae and scheduler, as Stable Diffusion 1, 2 and XL are, or of unet and scheduler");
        }
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UserError(string.Join("; ", faults));
        var scheduler = SchedulerConfigJson.Read(Path.Combine(index.FolderOf("scheduler"), "scheduler_config.json"));
        var unet = index.Component("unet");
        var encoders = TextEncoderFolder.OpenAll(index, DenoiserFolder.IsConditional(unet), options);
        var denoiser = DenoiserFolder.Open(unet, encoders, options.Dtype);
        var decoder = Autoencoder(index, denoiser);
        return new ImageModel
        {
            Name = new DirectoryInfo(folder).Name,
            Folder = folder,
            Scheduler = scheduler,
            Latent = denoiser.Latent,
            TextEncoders = [.. encoders.Select(encoder => encoder.Encoder)],
            ZerosWithoutPrompt = denoiser.TakesSizes && index.Flag("force_zeros_for_empty_prompt", true),
            TakesSizes = denoiser.TakesSizes,
            Denoiser = denoiser.Graph,
            Dtype = options.Dtype,
            Decoder = decoder?.Decoder,
            Encoder = decoder?.Encoder,
            PixelsPerCell = decoder?.PixelsPerCell ?? 1,
            ScalingFactor = decoder?.Scaling.ScalingFactor ?? 1,
            ShiftFactor = decoder?.Scaling.ShiftFactor ?? 0,
        };
    }

    private sealed record OpenedDecoder(Func<Dim, OnnxGraph> Decoder, Func<Dim, OnnxGraph>? Encoder, LatentScaling Scaling, int PixelsPerCell);

    // Null where the denoiser's latents are pixels.
    private static OpenedDecoder? Autoencoder(ModelIndex index, DenoiserFolder denoiser)
    {
        var latent = denoiser.Latent;
        var exported = index.Has("vae_decoder");
        if (!denoiser.IsOfText && !exported && !index.Has("vae"))
        {
            return latent.Channels is 1 or 3 ? null
                : throw new UserError($"unet: has {latent.Channels} channels and no vae beside it; expected images of 1 or 3 channels, or a vae");
        }
        var folder = index.Component(exported ? "vae_decoder" : "vae");
        var scaling = LatentScaling.Parse(folder.Config, folder.ClassName);
        var pixels = LatentScaling.PixelsPerCell(folder.Config);
        if (folder.IsOnnx)
        {
            return new(b => ExportedGraph.Read(folder, [("latent_sample", ElementType.Float)], "sample",
                b.IsKnown ? new Dictionary<string, long[]> { ["latent_sample"] = [b.Size, latent.Channels, latent.Height, latent.Width] } : null), null, scaling, pixels);
        }
        folder.Expect("AutoencoderKL", "AutoencoderTiny");
        if (folder.ClassName == "AutoencoderKL")
        {
            var kl = AutoencoderKlConfig.Parse(folder.Config);
            Fits(kl.LatentChannels);
            var weights = folder.Weights();
            return new(b => AutoencoderKl.BuildDecoder(kl, weights, b), b => AutoencoderKl.BuildEncoder(kl, weights, b), scaling, pixels);
        }
        else
        {
            var tiny = AutoencoderTinyConfig.Parse(folder.Config);
            Fits(tiny.LatentChannels);
            var weights = folder.Weights();
            return new(b => AutoencoderTiny.BuildDecoder(tiny, weights, b), b => AutoencoderTiny.BuildEncoder(tiny, weights, b), scaling, pixels);
        }

        void Fits(long channels)
        {
            if (channels != latent.Channels) throw new UserError($"vae: has {channels} latent channels, but unet has {latent.Channels}; they do not belong together");
        }
    }
}
