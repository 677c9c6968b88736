using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>The denoiser of a pipeline folder.</summary>
/// <param name="Graph">See <see cref="ImageModel.Denoiser"/>.</param>
/// <param name="Latent">Sizes of its latents.</param>
/// <param name="IsOfText">Whether it takes text states.</param>
/// <param name="TakesSizes">Whether it takes text_embeds and time_ids.</param>
internal sealed record DenoiserFolder(Func<Dim, OnnxGraph> Graph, LatentSize Latent, bool IsOfText, bool TakesSizes)
{
    private const string Unconditional = "UNet2DModel", Conditional = "UNet2DConditionModel";

    /// <summary>Whether a denoiser takes text states.</summary>
    public static bool IsConditional(ComponentFolder folder) => folder.ClassName != Unconditional;

    /// <summary>Opens it; weights are read when a graph is made.</summary>
    /// <param name="folder">The component.</param>
    /// <param name="text">The pipeline's text encoders.</param>
    /// <param name="dtype">Precision it computes in.</param>
    /// <exception cref="UserError">It is of another class, or does not fit the text encoders.</exception>
    public static DenoiserFolder Open(ComponentFolder folder, IReadOnlyList<TextEncoderFolder> text, Precision dtype)
    {
        var sizes = LatentConfig.Parse(folder.Config, folder.ClassName);
        if (sizes.Height == 0 || sizes.Width == 0)
            throw new UserError($"unet: '{Path.Combine(folder.Path, "config.json")}' has no sample_size; write there the height and width of its latents in cells");
        var ofText = IsConditional(folder);
        var latent = new LatentSize((int)(sizes.Channels > 0 ? sizes.Channels : ofText ? 4 : 3), (int)sizes.Height, (int)sizes.Width);
        var tokens = text.Count > 0 ? text[0].Tokens : 0;
        if (folder.IsOnnx) return Exported(folder, latent, ofText, tokens, takesSizes: text.Count > 1, dtype);
        folder.Expect(Conditional, Unconditional);
        var weights = folder.Weights(dtype == Precision.Fp16 ? ElementType.Float16 : ElementType.Float);
        if (!ofText)
        {
            var plain = UNet2DConfig.Parse(folder.Config);
            RequireAsMany(plain.InChannels, plain.OutChannels);
            return new(b => Boundary.InFloats(b.IsKnown ? UNet2DModel.Build(plain, weights, b, latent.Height, latent.Width) : UNet2DModel.Build(plain, weights, b)), latent, false, false);
        }
        var config = UNet2DConditionConfig.Parse(folder.Config);
        if (config.ClassEmbedType is not null || config.TimeCondProjDim is not null)
            throw new UserError("unet: expected a model of sample, timestep, encoder_hidden_states and, for Stable Diffusion XL, text_embeds and time_ids; one with class_labels or timestep_cond cannot be sampled yet");
        RequireAsMany(config.InChannels, config.OutChannels);
        RequireFit(config, text);
        return new(b => Boundary.InFloats(b.IsKnown
            ? UNet2DConditionModel.Build(config, weights, b, latent.Height, latent.Width, tokens)
            : UNet2DConditionModel.Build(config, weights, b)), latent, true, config.TextTime);
    }

    private static void RequireAsMany(long inChannels, long outChannels)
    {
        if (outChannels != inChannels) throw new UserError($"unet: expected as many channels out as in, got {inChannels} in and {outChannels} out");
    }

    private static void RequireFit(UNet2DConditionConfig config, IReadOnlyList<TextEncoderFolder> text)
    {
        var names = string.Join(" and ", text.Select(t => t.Encoder.Name));
        if (text.All(t => t.Width is not null) && text.Sum(t => t.Width) is var width && width != config.ContextWidth)
            throw new UserError($"unet: expects text states of width {config.ContextWidth}, but {names} {(text.Count > 1 ? "together have" : "has")} hidden_size {width}; they do not belong together");
        if (config.TextTime != text.Count > 1)
            throw new UserError($"unet: {(config.TextTime ? "takes text_embeds and time_ids, as Stable Diffusion XL's" : "takes no text_embeds")}, but the pipeline has {names}; they do not belong together");
        if (!config.TextTime) return;
        if (config.TimeIdCount != 6)
            throw new UserError($"unet: expected 6 time_ids (original size, crop, target size), got {config.TimeIdCount}; the refiner of Stable Diffusion XL goes on with images of the base model: give the base model");
        var pooled = config.ProjectionClassEmbeddingsInputDim - (config.TimeIdCount * config.AdditionTimeEmbedDim);
        if (text[^1].PooledWidth is { } given && given != pooled)
            throw new UserError($"unet: expects text_embeds of width {pooled}, but {text[^1].Encoder.Name} has projection_dim {given}; they do not belong together");
    }

    private static DenoiserFolder Exported(ComponentFolder folder, LatentSize latent, bool ofText, int tokens, bool takesSizes, Precision dtype)
    {
        (string Name, ElementType Type, long[] Sizes)[] inputs =
        [
            ("sample", ElementType.Float, [latent.Channels, latent.Height, latent.Width]), ("timestep", ElementType.Int64, []),
            .. ofText ? [("encoder_hidden_states", ElementType.Float, (long[])[tokens, 0])] : Array.Empty<(string, ElementType, long[])>(),
            .. takesSizes ? [("text_embeds", ElementType.Float, [0]), ("time_ids", ElementType.Float, (long[])[6])] : Array.Empty<(string, ElementType, long[])>(),
        ];
        return new(Read, latent, ofText, takesSizes);

        OnnxGraph Read(Dim batch)
        {
            var sizes = batch.IsKnown ? inputs.ToDictionary(i => i.Name, i => (long[])[batch.Size, .. i.Sizes]) : null;
            var graph = ExportedGraph.Read(folder, [.. inputs.Select(i => (i.Name, i.Type))], "out_sample", sizes, keepHalves: dtype == Precision.Fp16);
            if (dtype == Precision.Fp16 && !graph.Values.Values.Any(v => v.Type == ElementType.Float16))
                throw new UserError($"--dtype fp16: '{Path.Combine(folder.Path, "model.onnx")}' is exported in single precision; export it in half precision, give the model's weights, or take fp32");
            return graph["timestep"].Shape is { Rank: 1 } ? graph
                : throw new UserError("unet: expected a timestep of shape [B] or [1], got a single number; export the model with a timestep a row");
        }
    }
}
