using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>
/// The denoiser of a folder, whatever else lies there: of a pipeline in diffusers' or Optimum's layout, or by itself (config.json and
/// safetensors, or
/// model.onnx). Graphs are made with the sizes fixed that training needs so; the number of text tokens stays open where the model is a
/// U-Net's checkpoint.
/// </summary>
public sealed class TrainingDenoiser
{
    private const int ClipTokens = 77;
    private const string Transformer = "transformer";
    private readonly ComponentFolder _component;
    private readonly string _pipeline;

    private TrainingDenoiser(ComponentFolder component, string pipeline) => (_component, _pipeline) = (component, pipeline);

    /// <summary>Its name in a pipeline, <c>unet</c> or <c>transformer</c>, which the names of adapters' tensors begin with.</summary>
    public string Name => _component.Name;

    /// <summary>Name of the input that holds the noisy samples.</summary>
    public string SampleName => IsTransformer ? "hidden_states" : "sample";

    /// <summary>Whether guidance is a number it was distilled with, and not classifier-free.</summary>
    public bool IsDistilled => _component.ClassName == FluxTransformer2DConfig.ClassName;

    private bool IsTransformer => Name == Transformer;

    /// <summary>Whether it is a graph that others exported, and not weights with a configuration.</summary>
    public bool IsExported => _component.IsOnnx;

    /// <summary>Finds the denoiser of a folder.</summary>
    /// <param name="path">A pipeline's folder, a denoiser's, or its model.onnx.</param>
    /// <exception cref="UserError">There is none, or one of a kind that is not supported.</exception>
    public static TrainingDenoiser Open(string path)
    {
        if (File.Exists(path))
        {
            if (Path.GetFileName(path) != "model.onnx") throw new UserError(
                $"model '{path}': expected a folder, or a file model.onnx; put the export into a folder of its own under that name");
            path = Path.GetDirectoryName(Path.GetFullPath(path))!;
        }
        if (!Directory.Exists(path)) throw new UserError($"model '{path}': there is no such folder");
        foreach (var name in (string[])["unet", Transformer])
            if (Directory.Exists(Path.Combine(path, name))) return new(ComponentFolder.Open(Path.Combine(path, name), name), path);
        if (File.Exists(Path.Combine(path, "config.json")) || File.Exists(Path.Combine(path, "model.onnx")))
        {
            var component = ComponentFolder.Open(path, "unet");
            if (component.ClassName is SD3Transformer2DConfig.ClassName or FluxTransformer2DConfig.ClassName) component =
                ComponentFolder.Open(path, Transformer);
            return new(component, Path.GetDirectoryName(Path.GetFullPath(path).TrimEnd(Path.DirectorySeparatorChar)) ?? path);
        }
        throw new UserError(
            $"model '{path}': no denoiser there; expected a folder unet or transformer, or config.json with safetensors, or model.onnx");
    }

    /// <summary>
    /// A graph of the denoiser to <c>out_sample</c>, of a transformer <c>out_hidden_states</c>, [B,C,H,W] (FLUX: packed, [B,S,4C]).
    /// </summary>
    /// <param name="batch">B, rows.</param>
    /// <param name="sizes">Height, width and tokens, where they are not to be the model's own.</param>
    /// <param name="trainable">Whether its weights are parameters.</param>
    /// <exception cref="UserError">The model is not valid or of a class that is not supported, does not say a size that is not given, or
    /// has another one.</exception>
    public OnnxGraph Build(long batch, DenoiserSizes sizes, bool trainable = false)
    {
        var latent = LatentConfig.Parse(_component.Config, Name);
        if (_component.IsOnnx)
        {
            if (trainable) throw new UserError($"{Name}: '{_component.Path}' is an exported graph, whose weights have lost their names; "
                + $"train all weights of a checkpoint with safetensors, or adapters");
            return Exported(batch, sizes, latent);
        }
        _component.Expect(UNet2DConditionConfig.ClassName, UNet2DConfig.ClassName, SD3Transformer2DConfig.ClassName,
            FluxTransformer2DConfig.ClassName);
        var (height, width) = (Size(sizes.Height, latent.Height, "height"), Size(sizes.Width, latent.Width, "width"));
        var (config, weights, tokens, time) = (_component.Config, _component.Weights(trainable: trainable), sizes.TextTokens is { } known
            ? (Dim)known : (Dim?)null, IsFlow ? ElementType.Float : ElementType.Int64);
        return _component.ClassName switch
        {
            UNet2DConfig.ClassName => UNet2DModel.Build(UNet2DConfig.Parse(config), weights, batch, height, width, time),
            SD3Transformer2DConfig.ClassName =>
                SD3Transformer2DModel.Build(SD3Transformer2DConfig.Parse(config), weights, batch, height, width, tokens ?? JointTokens()),
            FluxTransformer2DConfig.ClassName => FluxTransformer2DModel.Build(FluxTransformer2DConfig.Parse(config), weights, batch,
                height / 2 * (width / 2), tokens ?? JointTokens()),
            _ => UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(config), weights, batch, height, width, tokens, time),
        };
    }

    private bool IsFlow => Path.Combine(_pipeline, "scheduler", "scheduler_config.json") is var scheduler && File.Exists(scheduler)
        && FlowSchedulerConfigJson.IsFlowFile(scheduler);

    private OnnxGraph Exported(long batch, DenoiserSizes sizes, LatentConfig latent)
    {
        var inputs = _component.ReadGraph().Inputs.Where(i => i.Data is null).ToList();
        var shapes = new Dictionary<string, long[]>();
        foreach (var input in inputs)
        {
            if (input.Shape is not { Rank: > 0 } shape)
                throw new UserError($"{Name}: input '{input.Name}' of '{_component.Path}': expected a row a sample, got "
                    + $"{input.Shape?.ToString() ?? "no shape"}; export the model with a timestep a row");
            shapes[input.Name] = input.Name switch
            {
                "sample" or "hidden_states" when shape.Rank == 4 => [batch, Open(shape[1], () => latent.Channels),
                    sizes.Height ?? Open(shape[2], () => Size(null, latent.Height, "height")), sizes.Width
                        ?? Open(shape[3], () => Size(null, latent.Width, "width"))],
                "hidden_states" when shape.Rank == 3 => [batch, Open(shape[1], () =>
                    Size(sizes.Height, latent.Height, "height") / 2 * (Size(sizes.Width, latent.Width, "width") / 2)), 0],
                "img_ids" => [Size(sizes.Height, latent.Height, "height") / 2 * (Size(sizes.Width, latent.Width, "width") / 2), 0],
                "txt_ids" => [sizes.TextTokens ?? Open(shape[0], Tokens), 0],
                "encoder_hidden_states" when shape.Rank == 3 => [batch, sizes.TextTokens ?? Open(shape[1], Tokens), 0],
                _ => [batch, .. new long[shape.Rank - 1]],
            };
        }
        return ExportedGraph.Read(_component, [.. inputs.Select(i => (i.Name, i.Type.IsFloating() ? ElementType.Float
            : ElementType.Int64))], IsTransformer ? "out_hidden_states" : "out_sample", shapes);

        // 0 leaves a size that the graph has fixed as it is.
        static long Open(Dim dim, Func<long> number) => dim.IsKnown ? 0 : number();
    }

    private long Size(long? given, long own, string name) => given ?? (own > 0 ? own
        : throw new UserError($"{Name}: '{Path.Combine(_component.Path, "config.json")}' has no sample_size; give --{name}, the {name} "
            + $"of its latents in cells"));

    // Of a transformer, whose image and text attend together: as its pipeline has them, T5's behind CLIP's.
    private long JointTokens()
    {
        if (IsDistilled) return TextEncoderFolder.FluxLength;
        var clip = Tokens();
        var isWhole = Directory.Exists(Path.Combine(_pipeline, "tokenizer"));
        return clip + (!isWhole || Directory.Exists(Path.Combine(_pipeline, "text_encoder_3")) ? TextEncoderFolder.SD3Length : clip);
    }

    private long Tokens()
    {
        var (tokenizer, encoder) = (Path.Combine(_pipeline, "tokenizer"), Path.Combine(_pipeline, "text_encoder"));
        if (File.Exists(Path.Combine(tokenizer, "vocab.json"))) return ClipTokenizer.Open(tokenizer).MaxLength;
        return File.Exists(Path.Combine(encoder, "config.json"))
            ? ClipTextConfig.Parse(ComponentFolder.Open(encoder, "text_encoder").Config).MaxPositionEmbeddings : ClipTokens;
    }
}
