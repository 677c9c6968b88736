using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Models;

/// <summary>A graph of a component and where it lies in an exported pipeline.</summary>
/// <param name="Place">Folder of its <c>model.onnx</c> within the pipeline's: <c>unet</c>, <c>vae_decoder</c>; empty for the pipeline's
/// own.</param>
/// <param name="Graph">The graph; its weights are read when they are asked for.</param>
public sealed record ComponentGraph(string Place, OnnxGraph Graph);

/// <summary>
/// The graphs of a component by its class, made from its config.json and its weights alone, with Optimum's names, sizes open: one of a
/// U-Net, a
/// transformer or a text encoder, decoder and encoder of an autoencoder, all of CLIP and its two towers.
/// </summary>
public static class ComponentGraphs
{
    private static readonly Dictionary<string, (string Name, Func<Checkpoint, IEnumerable<(string Place, OnnxGraph Graph)>> Build)> Table =
        new(StringComparer.Ordinal)
        {
            [UNet2DConditionConfig.ClassName] = ("unet", UNet2DCondition),
            [UNet2DConfig.ClassName] = ("unet", UNet2D),
            [AutoencoderKlConfig.ClassName] = ("vae", Kl),
            [AutoencoderTinyConfig.ClassName] = ("vae", Tiny),
            [SD3Transformer2DConfig.ClassName] = ("transformer", SD3),
            [FluxTransformer2DConfig.ClassName] = ("transformer", Flux),
            [T5Config.ClassName] = ("text_encoder", T5),
            ["CLIPTextModel"] = ("text_encoder", s => Text(s, projection: false)),
            ["CLIPTextModelWithProjection"] = ("text_encoder", s => Text(s, projection: true)),
            ["CLIPModel"] = ("", Clip),
        };

    /// <summary>The classes there are.</summary>
    public static IReadOnlyCollection<string> Classes => Table.Keys;

    /// <summary>Whether a class's graph takes adapters: it is a denoiser.</summary>
    public static bool IsDenoiser(string className) => className
        is UNet2DConditionConfig.ClassName or UNet2DConfig.ClassName or SD3Transformer2DConfig.ClassName or FluxTransformer2DConfig.ClassName;

    /// <summary>Name of a component in a pipeline that has one of its class; empty for one that is a pipeline of its own.</summary>
    public static string NameOf(string className) => Table[className].Name;

    /// <summary>Builds the graphs.</summary>
    /// <param name="folder">The component.</param>
    /// <param name="name">Its name in the pipeline, see <see cref="NameOf"/>.</param>
    /// <param name="weights">Its weights, of the element type that the graphs shall have.</param>
    /// <param name="hiddenStates">Whether a text encoder gives the states of each layer, as pipelines of two text encoders need.</param>
    /// <param name="isFlow">Whether a U-Net is a flow's: its timesteps are then no whole numbers.</param>
    /// <exception cref="UserError">A class or an option is not supported (names it), or weights are missing or have other
    /// shapes.</exception>
    public static IReadOnlyList<ComponentGraph> Build(ComponentFolder folder, string name, Weights weights, bool hiddenStates = false,
        bool isFlow = false)
    {
        folder.Expect([.. Classes]);
        return [.. Table[folder.ClassName].Build(new Checkpoint(folder.Config, name, weights, hiddenStates, isFlow ? ElementType.Float
            : ElementType.Int64)).Select(g => new ComponentGraph(g.Place, g.Graph))];
    }

    private sealed record Checkpoint(string Config, string Name, Weights Weights, bool HiddenStates, ElementType Time);

    // The layers whose rounding would cost a training from the file most of its precision stay single.
    private static IEnumerable<(string, OnnxGraph)> UNet2DCondition(Checkpoint s)
    {
        var config = UNet2DConditionConfig.Parse(s.Config);
        var weights = s.Weights.KeepSingle(WeightsInHalves.InSingle(config.UpBlockTypes.Length - 1));
        return [(s.Name, UNet2DConditionModel.Build(config, weights, "batch_size", "height", "width", "sequence_length", s.Time))];
    }

    private static IEnumerable<(string, OnnxGraph)> UNet2D(Checkpoint s)
    {
        var config = UNet2DConfig.Parse(s.Config);
        var weights = s.Weights.KeepSingle(WeightsInHalves.InSingle(config.UpBlockTypes.Length - 1));
        return [(s.Name, UNet2DModel.Build(config, weights, "batch_size", "height", "width", s.Time))];
    }

    private static IEnumerable<(string, OnnxGraph)> SD3(Checkpoint s) =>
        [(s.Name, SD3Transformer2DModel.Build(SD3Transformer2DConfig.Parse(s.Config), s.Weights, "batch_size", "height", "width",
            "sequence_length"))];

    private static IEnumerable<(string, OnnxGraph)> Flux(Checkpoint s) =>
        [(s.Name, FluxTransformer2DModel.Build(FluxTransformer2DConfig.Parse(s.Config), s.Weights, "batch_size", "packed_height_width",
            "sequence_length"))];

    // T5's states pass what halves can hold: such a model is only kept in them.
    private static IEnumerable<(string, OnnxGraph)> T5(Checkpoint s)
    {
        var halves = s.Weights.Type == ElementType.Float16;
        var graph = T5EncoderModel.Build(T5Config.Parse(s.Config), halves ? s.Weights.In(ElementType.Float) : s.Weights, "batch_size",
            "sequence_length");
        if (halves) KeepInHalves.Apply(graph);
        return [(s.Name, graph)];
    }

    private static IEnumerable<(string, OnnxGraph)> Kl(Checkpoint s)
    {
        var config = AutoencoderKlConfig.Parse(s.Config);
        var upcast = config.ForceUpcast && s.Weights.Type == ElementType.Float16;
        var weights = upcast ? s.Weights.In(ElementType.Float) : s.Weights;
        (string, OnnxGraph Graph)[] graphs =
        [
            (s.Name + "_decoder", AutoencoderKl.BuildDecoder(config, weights, "batch_size", "latent_height", "latent_width")),
            (s.Name + "_encoder", AutoencoderKl.BuildEncoder(config, weights, "batch_size", "height", "width")),
        ];
        foreach (var (_, graph) in graphs.Where(_ => upcast)) KeepInHalves.Apply(graph);
        return graphs;
    }

    private static IEnumerable<(string, OnnxGraph)> Tiny(Checkpoint s)
    {
        var config = AutoencoderTinyConfig.Parse(s.Config);
        return
        [
            (s.Name + "_decoder", AutoencoderTiny.BuildDecoder(config, s.Weights, "batch_size", "latent_height", "latent_width")),
            (s.Name + "_encoder", AutoencoderTiny.BuildEncoder(config, s.Weights, "batch_size", "height", "width")),
        ];
    }

    private static IEnumerable<(string, OnnxGraph)> Text(Checkpoint s, bool projection)
    {
        var config = ClipTextConfig.Parse(s.Config);
        return [(s.Name, ClipTextModel.Build(config, s.Weights, projection, s.HiddenStates || projection || config.OutputHiddenStates,
            "batch_size", "sequence_length"))];
    }

    private static IEnumerable<(string, OnnxGraph)> Clip(Checkpoint s)
    {
        var config = ClipConfig.Parse(s.Config);
        return
        [
            (s.Name, ClipModel.Build(config, s.Weights, "text_batch_size", "image_batch_size", "sequence_length")),
            (Path.Combine(s.Name, "text_model"), ClipModel.BuildText(config, s.Weights, "batch_size", "sequence_length")),
            (Path.Combine(s.Name, "vision_model"), ClipModel.BuildVision(config, s.Weights, "batch_size")),
        ];
    }
}
