using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// Opens a pipeline folder as an <see cref="ImageModel"/>. Each of <c>unet</c>, <c>text_encoder</c> and <c>vae</c> is either weights with a config.json
/// (diffusers, transformers) or a <c>model.onnx</c> (Optimum, where the decoder is <c>vae_decoder</c>); half-precision weights are widened.
/// </summary>
internal static class ImageModelFolder
{
    private static readonly (string, ElementType)[] DenoiserInputs =
        [("sample", ElementType.Float), ("timestep", ElementType.Int64), ("encoder_hidden_states", ElementType.Float)];

    public static ImageModel Open(string folder)
    {
        var index = ModelIndex.Open(folder);
        foreach (var other in (string[])["transformer", "text_encoder_2", "prior"])
        {
            if (index.Has(other))
                throw new UserError($"model '{folder}': {index.Pipeline} has a component {other}; expected a pipeline of tokenizer, text_encoder, unet, vae and scheduler, as Stable Diffusion 1 and 2 are");
        }
        var scheduler = SchedulerConfigJson.Read(Path.Combine(index.FolderOf("scheduler"), "scheduler_config.json"));
        var tokenizer = ClipTokenizer.Open(index.FolderOf("tokenizer"));
        var (textEncoder, textWidth) = TextEncoder(index.Component("text_encoder"), tokenizer);
        var (denoiser, latent) = Denoiser(index.Component("unet"), tokenizer.MaxLength, textWidth);
        var (decoder, encoder, scaling) = Autoencoder(index.Component(index.Has("vae_decoder") ? "vae_decoder" : "vae"), latent);
        return new ImageModel
        {
            Name = new DirectoryInfo(folder).Name,
            Folder = folder,
            Scheduler = scheduler,
            Latent = latent,
            Tokenize = tokenizer.Encode,
            TextEncoder = textEncoder,
            Denoiser = denoiser,
            Decoder = decoder,
            Encoder = encoder,
            ScalingFactor = scaling.ScalingFactor,
            ShiftFactor = scaling.ShiftFactor,
        };
    }

    // Gives the width of the states, too, where it is known before the graph is read.
    private static (Func<Dim, OnnxGraph>, long?) TextEncoder(ComponentFolder folder, ClipTokenizer tokenizer)
    {
        var length = tokenizer.MaxLength;
        if (folder.IsOnnx)
        {
            return (b => ExportedGraph.Read(folder, [("input_ids", ElementType.Int64)], "last_hidden_state",
                b.IsKnown ? new Dictionary<string, long[]> { ["input_ids"] = [b.Size, length] } : null), null);
        }
        folder.Expect("CLIPTextModel", "CLIPTextModelWithProjection");
        var config = ClipTextConfig.Parse(folder.Config);
        if (length > config.MaxPositionEmbeddings)
            throw new UserError($"text_encoder: max_position_embeddings is {config.MaxPositionEmbeddings}, but the tokenizer's model_max_length is {length}; they do not belong together");
        if (Math.Max(tokenizer.EndId, tokenizer.PadId) >= config.VocabSize)
            throw new UserError($"text_encoder: vocab_size is {config.VocabSize}, but the tokenizer's end and padding ids are {tokenizer.EndId} and {tokenizer.PadId}; they do not belong together");
        var weights = folder.Weights();
        return (b => ClipTextModel.Build(config, weights, batch: b, sequence: length), config.HiddenSize);
    }

    private static (Func<Dim, OnnxGraph>, LatentSize) Denoiser(ComponentFolder folder, int tokens, long? textWidth)
    {
        var sizes = LatentConfig.Parse(folder.Config, folder.ClassName);
        if (sizes.Height == 0 || sizes.Width == 0)
            throw new UserError($"unet: '{Path.Combine(folder.Path, "config.json")}' has no sample_size; write there the height and width of its latents in cells");
        var latent = new LatentSize((int)(sizes.Channels > 0 ? sizes.Channels : 4), (int)sizes.Height, (int)sizes.Width);
        if (folder.IsOnnx) return (Exported, latent);

        folder.Expect("UNet2DConditionModel");
        var config = UNet2DConditionConfig.Parse(folder.Config);
        if (config.TextTime || config.ClassEmbedType is not null || config.TimeCondProjDim is not null)
            throw new UserError("unet: expected a model of sample, timestep and encoder_hidden_states alone; one with text_embeds, class_labels or timestep_cond cannot be sampled yet");
        if (config.OutChannels != config.InChannels)
            throw new UserError($"unet: expected as many channels out as in, got {config.InChannels} in and {config.OutChannels} out");
        if (textWidth is { } width && width != config.ContextWidth)
            throw new UserError($"unet: expects text states of width {config.ContextWidth}, but text_encoder has hidden_size {width}; they do not belong together");
        var weights = folder.Weights();
        return (b => b.IsKnown
            ? UNet2DConditionModel.Build(config, weights, b, latent.Height, latent.Width, tokens)
            : UNet2DConditionModel.Build(config, weights, b), latent);

        OnnxGraph Exported(Dim batch)
        {
            var graph = ExportedGraph.Read(folder, DenoiserInputs, "out_sample", batch.IsKnown ? Sizes() : null);
            return graph["timestep"].Shape is { Rank: 1 } ? graph
                : throw new UserError("unet: expected a timestep of shape [B] or [1], got a single number; export the model with a timestep a row");

            Dictionary<string, long[]> Sizes() => new()
            {
                ["sample"] = [batch.Size, latent.Channels, latent.Height, latent.Width],
                ["timestep"] = [batch.Size],
                ["encoder_hidden_states"] = [batch.Size, tokens, 0],
            };
        }
    }

    private static (Func<Dim, OnnxGraph> Decoder, Func<Dim, OnnxGraph>? Encoder, LatentScaling) Autoencoder(ComponentFolder folder, LatentSize latent)
    {
        var scaling = LatentScaling.Parse(folder.Config, folder.ClassName);
        if (folder.IsOnnx)
        {
            return (b => ExportedGraph.Read(folder, [("latent_sample", ElementType.Float)], "sample",
                b.IsKnown ? new Dictionary<string, long[]> { ["latent_sample"] = [b.Size, latent.Channels, latent.Height, latent.Width] } : null), null, scaling);
        }
        folder.Expect("AutoencoderKL", "AutoencoderTiny");
        if (folder.ClassName == "AutoencoderKL")
        {
            var kl = AutoencoderKlConfig.Parse(folder.Config);
            Fits(kl.LatentChannels);
            var weights = folder.Weights();
            return (b => AutoencoderKl.BuildDecoder(kl, weights, b), b => AutoencoderKl.BuildEncoder(kl, weights, b), scaling);
        }
        else
        {
            var tiny = AutoencoderTinyConfig.Parse(folder.Config);
            Fits(tiny.LatentChannels);
            var weights = folder.Weights();
            return (b => AutoencoderTiny.BuildDecoder(tiny, weights, b), b => AutoencoderTiny.BuildEncoder(tiny, weights, b), scaling);
        }

        void Fits(long channels)
        {
            if (channels != latent.Channels) throw new UserError($"vae: has {channels} latent channels, but unet has {latent.Channels}; they do not belong together");
        }
    }
}
