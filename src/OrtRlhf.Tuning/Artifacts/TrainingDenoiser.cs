using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>
/// The denoiser of a folder, whatever else lies there: of a pipeline in diffusers' or Optimum's layout, or by itself (config.json and safetensors, or
/// model.onnx). Graphs are made with the sizes fixed that training needs so; the number of text tokens stays open where the model is a checkpoint.
/// </summary>
public sealed class TrainingDenoiser
{
    private const int ClipTokens = 77;
    private readonly ComponentFolder _component;
    private readonly string _pipeline;

    private TrainingDenoiser(ComponentFolder component, string pipeline) => (_component, _pipeline) = (component, pipeline);

    /// <summary>Whether it is a graph that others exported, and not weights with a configuration.</summary>
    public bool IsExported => _component.IsOnnx;

    /// <summary>Finds the denoiser of a folder.</summary>
    /// <param name="path">A pipeline's folder, a denoiser's, or its model.onnx.</param>
    /// <exception cref="UserError">There is none, or one of a kind that is not supported.</exception>
    public static TrainingDenoiser Open(string path)
    {
        if (File.Exists(path))
        {
            if (Path.GetFileName(path) != "model.onnx") throw new UserError($"model '{path}': expected a folder, or a file model.onnx; put the export into a folder of its own under that name");
            path = Path.GetDirectoryName(Path.GetFullPath(path))!;
        }
        if (!Directory.Exists(path)) throw new UserError($"model '{path}': there is no such folder");
        if (Directory.Exists(Path.Combine(path, "unet"))) return Of(Path.Combine(path, "unet"), path);
        if (Directory.Exists(Path.Combine(path, "transformer")))
            throw new UserError($"model '{path}': its denoiser is a transformer; expected a U-Net (component unet: Stable Diffusion 1.x, 2.x, XL, DDPM)");
        if (File.Exists(Path.Combine(path, "config.json")) || File.Exists(Path.Combine(path, "model.onnx")))
            return Of(path, Path.GetDirectoryName(Path.GetFullPath(path).TrimEnd(Path.DirectorySeparatorChar)) ?? path);
        throw new UserError($"model '{path}': no denoiser there; expected a folder unet, or config.json with safetensors, or model.onnx");

        static TrainingDenoiser Of(string folder, string pipeline) => new(ComponentFolder.Open(folder, "unet"), pipeline);
    }

    /// <summary>A graph of the denoiser to <c>out_sample</c> [B,C,H,W].</summary>
    /// <param name="batch">B, rows.</param>
    /// <param name="sizes">Height, width and tokens, where they are not to be the model's own.</param>
    /// <param name="trainable">Whether its weights are parameters.</param>
    /// <exception cref="UserError">The model is not valid or of a class that is not supported, does not say a size that is not given, or has another one.</exception>
    public OnnxGraph Build(long batch, DenoiserSizes sizes, bool trainable = false)
    {
        var latent = LatentConfig.Parse(_component.Config, "unet");
        if (_component.IsOnnx)
        {
            if (trainable) throw new UserError($"unet: '{_component.Path}' is an exported graph, whose weights have lost their names; train all weights of a checkpoint with safetensors, or adapters");
            return Exported(batch, sizes, latent);
        }
        _component.Expect("UNet2DConditionModel", "UNet2DModel");
        var (height, width) = (Size(sizes.Height, latent.Height, "height"), Size(sizes.Width, latent.Width, "width"));
        var weights = _component.Weights(trainable: trainable);
        return _component.ClassName == "UNet2DModel"
            ? UNet2DModel.Build(UNet2DConfig.Parse(_component.Config), weights, batch, height, width)
            : UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(_component.Config), weights, batch, height, width, sizes.TextTokens is { } tokens ? tokens : null);
    }

    private OnnxGraph Exported(long batch, DenoiserSizes sizes, LatentConfig latent)
    {
        var inputs = _component.ReadGraph().Inputs.Where(i => i.Data is null).ToList();
        var shapes = new Dictionary<string, long[]>();
        foreach (var input in inputs)
        {
            if (input.Shape is not { Rank: > 0 } shape)
                throw new UserError($"unet: input '{input.Name}' of '{_component.Path}': expected a row a sample, got {input.Shape?.ToString() ?? "no shape"}; export the model with a timestep a row");
            shapes[input.Name] = input.Name switch
            {
                "sample" when shape.Rank == 4 => [batch, Open(shape[1], () => latent.Channels),
                    sizes.Height ?? Open(shape[2], () => Size(null, latent.Height, "height")), sizes.Width ?? Open(shape[3], () => Size(null, latent.Width, "width"))],
                "encoder_hidden_states" when shape.Rank == 3 => [batch, sizes.TextTokens ?? Open(shape[1], Tokens), 0],
                _ => [batch, .. new long[shape.Rank - 1]],
            };
        }
        return ExportedGraph.Read(_component, [.. inputs.Select(i => (i.Name, i.Type.IsFloating() ? ElementType.Float : ElementType.Int64))], "out_sample", shapes);

        // 0 leaves a size that the graph has fixed as it is.
        static long Open(Dim dim, Func<long> number) => dim.IsKnown ? 0 : number();
    }

    private long Size(long? given, long own, string name) => given ?? (own > 0 ? own
        : throw new UserError($"unet: '{Path.Combine(_component.Path, "config.json")}' has no sample_size; give --{name}, the {name} of its latents in cells"));

    private long Tokens()
    {
        var (tokenizer, encoder) = (Path.Combine(_pipeline, "tokenizer"), Path.Combine(_pipeline, "text_encoder"));
        if (File.Exists(Path.Combine(tokenizer, "vocab.json"))) return ClipTokenizer.Open(tokenizer).MaxLength;
        return File.Exists(Path.Combine(encoder, "config.json")) ? ClipTextConfig.Parse(ComponentFolder.Open(encoder, "text_encoder").Config).MaxPositionEmbeddings : ClipTokens;
    }
}

/// <summary>Sizes that a training graph is fixed to; null for the model's own.</summary>
/// <param name="Height">Height of the latents in cells; the model's own is sample_size of its config.json.</param>
/// <param name="Width">Width of the latents in cells.</param>
/// <param name="TextTokens">Tokens of the text states; a checkpoint's stay open, an export's are its tokenizer's length, or what its text encoder takes, or 77.</param>
public sealed record DenoiserSizes(long? Height = null, long? Width = null, long? TextTokens = null);
