using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Models;

/// <summary>The denoiser of a pipeline folder.</summary>
/// <param name="Graph">See <see cref="ImageModel.Denoiser"/>.</param>
/// <param name="Latent">Sizes of its latents.</param>
internal sealed record DenoiserFolder(Func<Dim, OnnxGraph> Graph, LatentSize Latent)
{
    private const string Unconditional = UNet2DConfig.ClassName, Conditional = UNet2DConditionConfig.ClassName;

    /// <summary>Cells of the latents of FLUX along a side, which its config.json does not say: 1024 pixels.</summary>
    private const int FluxCells = 128;

    /// <summary>See <see cref="ImageModel.PooledInput"/>.</summary>
    public string? PooledInput { get; private init; }

    /// <summary>See <see cref="ImageModel.TakesSizes"/>.</summary>
    public bool TakesSizes { get; private init; }

    /// <summary>See <see cref="ImageModel.IsDistilled"/>.</summary>
    public bool IsDistilled { get; private init; }

    /// <summary>See <see cref="ImageModel.TakesGuidance"/>.</summary>
    public bool TakesGuidance { get; private init; }

    /// <summary>See <see cref="ImageModel.FlowSpacing"/>.</summary>
    public FlowSpacing Spacing { get; private init; }

    /// <summary>Cells on a side of what is a token of the image.</summary>
    private int PatchSize { get; init; } = 1;

    /// <summary>Tokens of the image, by which dynamic shifts of a flow's times go.</summary>
    public int Tokens => Latent.Height / PatchSize * (Latent.Width / PatchSize);

    /// <summary>Whether a denoiser takes text states.</summary>
    public static bool IsConditional(ComponentFolder folder) => folder.ClassName != Unconditional;

    /// <summary>Opens it; weights are read when a graph is made.</summary>
    /// <param name="folder">The component.</param>
    /// <param name="text">The pipeline's text encoders.</param>
    /// <param name="isFlow">Whether the pipeline's scheduler is a flow's.</param>
    /// <param name="pixelsPerCell">Pixels of a cell of its latents.</param>
    /// <param name="options">Size of the images.</param>
    /// <exception cref="UserError">It is of another class, or does not fit the text encoders.</exception>
    public static DenoiserFolder Open(ComponentFolder folder, IReadOnlyList<TextEncoderFolder> text, bool isFlow, int pixelsPerCell,
        ModelOptions options)
    {
        var opened = folder.ClassName switch
        {
            SD3Transformer2DConfig.ClassName => SD3(folder, text, Size(SD3Transformer2DConfig.Parse(folder.Config).InChannels)),
            FluxTransformer2DConfig.ClassName =>
                Flux(folder, text, Size(FluxTransformer2DConfig.Parse(folder.Config).InChannels / 4, FluxCells)),
            _ => UNet(folder, text, Size(IsConditional(folder) ? 4 : 3), isFlow ? ElementType.Float : ElementType.Int64),
        };
        var (height, width) = (opened.Latent.Height, opened.Latent.Width);
        return height % opened.PatchSize == 0 && width % opened.PatchSize == 0 ? opened
            : throw new UserError($"{folder.Name}: expected latents whose sides {opened.PatchSize} divides, got {height}x{width}; give "
                + $"`ImageSize` a multiple of {opened.PatchSize * pixelsPerCell}");

        LatentSize Size(long channels, int cells = 0)
        {
            var own = LatentConfig.Parse(folder.Config, folder.ClassName);
            if (folder.ClassName != FluxTransformer2DConfig.ClassName && own.Channels > 0) channels = own.Channels;
            if (options.ImageSize is { } size)
            {
                return size.Y % pixelsPerCell == 0 && size.X % pixelsPerCell == 0
                    ? new((int)channels, size.Y / pixelsPerCell, size.X / pixelsPerCell)
                    : throw new UserError(
                        $"`ImageSize`: expected multiples of {pixelsPerCell}, the pixels of a cell of '{folder.Name}', got {size}");
            }
            if (own.Height > 0 && own.Width > 0) return new((int)channels, (int)own.Height, (int)own.Width);
            if (folder.ClassName == SD3Transformer2DConfig.ClassName) cells = (int)new SD3Transformer2DConfig().SampleSize;
            return cells > 0 ? new((int)channels, cells, cells)
                : throw new UserError($"{folder.Name}: '{Path.Combine(folder.Path, "config.json")}' has no sample_size; write there the "
                    + $"height and width of its latents in cells, or give `ImageSize`");
        }
    }

    private static DenoiserFolder UNet(ComponentFolder folder, IReadOnlyList<TextEncoderFolder> text, LatentSize latent, ElementType time)
    {
        var ofText = IsConditional(folder);
        var tokens = TextEncoderFolder.Tokens(text);
        if (folder.IsOnnx)
        {
            var takesSizes = text.Count > 1;
            (string, ElementType, long[])[] inputs =
            [
                ("sample", ElementType.Float, [latent.Channels, latent.Height, latent.Width]), ("timestep", time, []),
                .. ofText ? [("encoder_hidden_states", ElementType.Float, (long[])[tokens, 0])]
                    : Array.Empty<(string, ElementType, long[])>(),
                .. takesSizes ? [("text_embeds", ElementType.Float, [0]), ("time_ids", ElementType.Float, (long[])[6])]
                    : Array.Empty<(string, ElementType, long[])>(),
            ];
            return new(b => Exported(folder, b, inputs, "out_sample"), latent)
            {
                TakesSizes = takesSizes,
                PooledInput = takesSizes
                ? "text_embeds" : null
            };
        }
        folder.Expect(folder.Name == "unet" ? [Conditional, Unconditional]
            : [SD3Transformer2DConfig.ClassName, FluxTransformer2DConfig.ClassName]);
        var weights = folder.Weights();
        if (!ofText)
        {
            var plain = UNet2DConfig.Parse(folder.Config);
            RequireAsMany(plain.InChannels, plain.OutChannels);
            return new(b => UNet2DModel.Build(plain, weights, b, latent.Height, latent.Width, time), latent);
        }
        var config = UNet2DConditionConfig.Parse(folder.Config);
        if (config.ClassEmbedType is not null || config.TimeCondProjDim is not null)
            throw new UserError("unet: expected a model of sample, timestep, encoder_hidden_states and, for Stable Diffusion XL, "
                + "text_embeds and time_ids; one with class_labels or timestep_cond cannot be sampled yet");
        RequireAsMany(config.InChannels, config.OutChannels);
        RequireFit(config, text);
        return new(b => UNet2DConditionModel.Build(config, weights, b, latent.Height, latent.Width, tokens, time), latent)
        {
            TakesSizes = config.TextTime,
            PooledInput = config.TextTime ? "text_embeds" : null,
        };
    }

    private static DenoiserFolder SD3(ComponentFolder folder, IReadOnlyList<TextEncoderFolder> text, LatentSize latent)
    {
        var config = SD3Transformer2DConfig.Parse(folder.Config);
        RequireAsMany(config.InChannels, config.OutChannels, folder.Name);
        TextEncoderFolder.RequireFit(text, folder.Name, config.JointAttentionDim, config.PooledProjectionDim);
        var tokens = TextEncoderFolder.Tokens(text);
        var weights = folder.IsOnnx ? null : folder.Weights();
        (string, ElementType, long[])[] inputs =
        [
            ("hidden_states", ElementType.Float, [latent.Channels, latent.Height, latent.Width]), ("timestep", ElementType.Float, []),
            ("encoder_hidden_states", ElementType.Float, [tokens, config.JointAttentionDim]),
                ("pooled_projections", ElementType.Float, [config.PooledProjectionDim]),
        ];
        return new(b => TransformerBoundary.SD3(weights is null
            ? Exported(folder, b, inputs, "out_hidden_states")
            : SD3Transformer2DModel.Build(config, weights, b, latent.Height, latent.Width, tokens)), latent)
        {
            PooledInput = "pooled_projections",
            PatchSize = (int)config.PatchSize,
        };
    }

    private static DenoiserFolder Flux(ComponentFolder folder, IReadOnlyList<TextEncoderFolder> text, LatentSize latent)
    {
        var config = FluxTransformer2DConfig.Parse(folder.Config);
        RequireAsMany(config.InChannels, config.OutChannels * config.PatchSize * config.PatchSize, folder.Name);
        TextEncoderFolder.RequireFit(text, folder.Name, config.JointAttentionDim, config.PooledProjectionDim);
        var (tokens, cells, axes) = (TextEncoderFolder.Tokens(text), latent.Height / 2 * (latent.Width / 2), config.AxesDimsRope.Count);
        var weights = folder.IsOnnx ? null : folder.Weights();
        (string, ElementType, long[])[] inputs =
        [
            ("hidden_states", ElementType.Float, [cells, config.InChannels]), ("timestep", ElementType.Float, []),
            ("encoder_hidden_states", ElementType.Float, [tokens, config.JointAttentionDim]),
                ("pooled_projections", ElementType.Float, [config.PooledProjectionDim]),
            .. config.GuidanceEmbeds ? [("guidance", ElementType.Float, (long[])[])] : Array.Empty<(string, ElementType, long[])>(),
        ];
        return new(b => TransformerBoundary.Flux(weights is null
            ? Exported(folder, b, inputs, "out_hidden_states", ("img_ids", [cells, axes]), ("txt_ids", [tokens, axes]))
            : FluxTransformer2DModel.Build(config, weights, b, cells, tokens), b, latent, tokens), latent)
        {
            PooledInput = "pooled_projections",
            PatchSize = 2,
            Spacing = FlowSpacing.Even,
            IsDistilled = true,
            TakesGuidance = config.GuidanceEmbeds,
        };
    }

    private static void RequireAsMany(long inChannels, long outChannels, string name = "unet")
    {
        if (outChannels != inChannels) throw new UserError(
            $"{name}: expected as many channels out as in, got {inChannels} in and {outChannels} out");
    }

    private static void RequireFit(UNet2DConditionConfig config, IReadOnlyList<TextEncoderFolder> text)
    {
        var names = string.Join(" and ", text.Select(t => t.Encoder.Name));
        if (text.All(t => t.Width is not null) && text.Sum(t => t.Width) is var width && width != config.ContextWidth)
            throw new UserError($"unet: expects text states of width {config.ContextWidth}, but {names} "
                + $"{(text.Count > 1 ? "together have" : "has")} hidden_size {width}; they do not belong together");
        if (config.TextTime != text.Count > 1)
            throw new UserError(
                $"unet: {(config.TextTime ? "takes text_embeds and time_ids, as Stable Diffusion XL's" : "takes no text_embeds")}, but "
                + $"the pipeline has {names}; they do not belong together");
        if (!config.TextTime) return;
        if (config.TimeIdCount != 6)
            throw new UserError($"unet: expected 6 time_ids (original size, crop, target size), got {config.TimeIdCount}; the refiner of "
                + $"Stable Diffusion XL goes on with images of the base model: give the base model");
        var pooled = config.ProjectionClassEmbeddingsInputDim - (config.TimeIdCount * config.AdditionTimeEmbedDim);
        if (text[^1].PooledWidth is { } given && given != pooled)
            throw new UserError($"unet: expects text_embeds of width {pooled}, but {text[^1].Encoder.Name} has projection_dim {given}; "
                + $"they do not belong together");
    }

    // Inputs have a row a sample; places have none.
    private static OnnxGraph Exported(
        ComponentFolder folder, Dim batch, (string Name, ElementType Type, long[] Sizes)[] inputs, string output,
            params (string Name, long[] Sizes)[] places)
    {
        var sizes = batch.IsKnown ? inputs.ToDictionary(i => i.Name, i => (long[])[batch.Size, .. i.Sizes]) : null;
        foreach (var (name, shape) in places) sizes?.Add(name, shape);
        var graph = ExportedGraph.Read(folder,
            [.. inputs.Select(i => (i.Name, i.Type)), .. places.Select(p => (p.Name, ElementType.Float))], output, sizes);
        return graph["timestep"].Shape is { Rank: 1 } ? graph
            : throw new UserError(
                $"{folder.Name}: expected a timestep of shape [B] or [1], got a single number; export the model with a timestep a row");
    }
}
