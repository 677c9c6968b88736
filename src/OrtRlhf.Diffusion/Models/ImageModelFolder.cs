using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Models;

/// <summary>
/// Opens a pipeline folder as an <see cref="ImageModel"/>. Each of its components is either weights with a config.json (diffusers,
/// transformers) or a
/// <c>model.onnx</c> (Optimum, where the decoder is <c>vae_decoder</c>); half-precision weights are widened, but for a denoiser's that are
/// asked for in halves.
/// </summary>
internal static class ImageModelFolder
{
    public static ImageModel Open(string folder, ModelOptions options)
    {
        var index = ModelIndex.Open(folder);
        foreach (var other in (string[])["prior", "vqvae", "image_encoder"])
        {
            if (index.Has(other))
                throw new UserError($"model '{folder}': {index.Pipeline} has a component {other}; expected a pipeline of tokenizers, "
                    + $"text encoders, unet or transformer, vae and scheduler, as Stable Diffusion and FLUX are, or of unet and scheduler");
        }
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UserError(string.Join("; ", faults));
        var scheduler = Path.Combine(index.FolderOf("scheduler"), "scheduler_config.json");
        var isFlow = FlowSchedulerConfigJson.IsFlowFile(scheduler);
        var component = index.Component(index.Has("transformer") ? "transformer" : "unet");
        var encoders = TextEncoderFolder.OpenAll(index, component.ClassName, options);
        var vae = index.Has("vae_decoder") ? index.Component("vae_decoder") : index.Has("vae") || DenoiserFolder.IsConditional(component)
            ? index.Component("vae") : null;
        var pixelsPerCell = vae is null ? 1 : LatentScaling.PixelsPerCell(vae.Config);
        var denoiser = DenoiserFolder.Open(component, encoders, isFlow, pixelsPerCell, options);
        if (component.Name == "transformer" && !isFlow) throw new UserError($"model '{folder}': {component.ClassName} is a flow, but "
            + $"'{scheduler}' is no flow's; expected a FlowMatchEulerDiscreteScheduler");
        var decoder = vae is null ? null : Autoencoder(vae, denoiser.Latent);
        if (decoder is null && denoiser.Latent.Channels is not (1 or 3))
            throw new UserError($"{component.Name}: has {denoiser.Latent.Channels} channels and no vae beside it; expected images of 1 "
                + $"or 3 channels, or a vae");
        return new ImageModel
        {
            Name = new DirectoryInfo(folder).Name,
            Folder = folder,
            Scheduler = isFlow ? null : SchedulerConfigJson.Read(scheduler),
            Flow = isFlow ? new FlowSchedule(FlowSchedulerConfigJson.Read(scheduler), denoiser.Tokens) : null,
            FlowSpacing = denoiser.Spacing,
            Latent = denoiser.Latent,
            TextEncoders = [.. encoders.Select(encoder => encoder.Encoder)],
            ZerosWithoutPrompt = denoiser.TakesSizes && index.Flag("force_zeros_for_empty_prompt", true),
            PooledInput = denoiser.PooledInput,
            TakesSizes = denoiser.TakesSizes,
            IsDistilled = denoiser.IsDistilled,
            TakesGuidance = denoiser.TakesGuidance,
            DenoiserName = component.Name,
            Denoiser = options.Dtype == Precision.Fp16 ? batch => WeightsInHalves.Apply(denoiser.Graph(batch)) : denoiser.Graph,
            Dtype = options.Dtype,
            Decoder = decoder?.Decoder,
            Encoder = decoder?.Encoder,
            PixelsPerCell = pixelsPerCell,
            ScalingFactor = decoder?.Scaling.ScalingFactor ?? 1,
            ShiftFactor = decoder?.Scaling.ShiftFactor ?? 0,
        };
    }

    private sealed record OpenedDecoder(Func<Dim, OnnxGraph> Decoder, Func<Dim, OnnxGraph>? Encoder, LatentScaling Scaling);

    private static OpenedDecoder Autoencoder(ComponentFolder folder, LatentSize latent)
    {
        var scaling = LatentScaling.Parse(folder.Config, folder.ClassName);
        if (folder.IsOnnx)
        {
            return new(b => ExportedGraph.Read(folder, [("latent_sample", ElementType.Float)], "sample",
                b.IsKnown ? new Dictionary<string, long[]> { ["latent_sample"] = [b.Size, latent.Channels, latent.Height, latent.Width] }
                    : null), null, scaling);
        }
        folder.Expect("AutoencoderKL", "AutoencoderTiny");
        if (folder.ClassName == "AutoencoderKL")
        {
            var kl = AutoencoderKlConfig.Parse(folder.Config);
            Fits(kl.LatentChannels);
            var weights = folder.Weights();
            return new(b => AutoencoderKl.BuildDecoder(kl, weights, b), b => AutoencoderKl.BuildEncoder(kl, weights, b), scaling);
        }
        else
        {
            var tiny = AutoencoderTinyConfig.Parse(folder.Config);
            Fits(tiny.LatentChannels);
            var weights = folder.Weights();
            return new(b => AutoencoderTiny.BuildDecoder(tiny, weights, b), b => AutoencoderTiny.BuildEncoder(tiny, weights, b), scaling);
        }

        void Fits(long channels)
        {
            if (channels != latent.Channels) throw new UserError(
                $"vae: has {channels} latent channels, but the denoiser has {latent.Channels}; they do not belong together");
        }
    }
}
