using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Models;

/// <summary>
/// The velocity model of Stable Diffusion 3 and 3.5: a transformer over patches of the latents and tokens of the text (MMDiT). Source:
/// Esser et al., 2024.
/// Parameters have diffusers' names.
/// </summary>
public static class SD3Transformer2DModel
{
    /// <summary>
    /// A graph of the model with Optimum's names: hidden_states [B,C,H,W], timestep [B] or [1] (1000 sigma, float), encoder_hidden_states
    /// [B,T,D],
    /// pooled_projections [B,P] to out_hidden_states [B,C,H,W], the velocity noise - x0. H and W are multiples of the patch size and not
    /// beyond the table of
    /// places.
    /// </summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="batch">Samples; open by default.</param>
    /// <param name="height">Height of the latents in cells; open by default.</param>
    /// <param name="width">Width of the latents in cells; open by default.</param>
    /// <param name="sequence">Text tokens; open by default.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes, or sizes do not fit the patches or the table of
    /// places.</exception>
    public static OnnxGraph Build(SD3Transformer2DConfig config, Weights weights, Dim? batch = null, Dim? height = null, Dim? width = null,
        Dim? sequence = null)
    {
        var graph = new OnnxGraph("transformer");
        var b = batch ?? "batch";
        var type = weights.Type;
        var sample = graph.Input("hidden_states", type, b, config.InChannels, height ?? "height", width ?? "width");
        var timestep = graph.Input("timestep", ElementType.Float, b.IsKnown ? b : (Dim)"steps");
        var context = graph.Input("encoder_hidden_states", type, b, sequence ?? "sequence", config.JointAttentionDim);
        var pooled = graph.Input("pooled_projections", type, b, config.PooledProjectionDim);
        var output = Forward(new Module(graph, weights), config, sample, timestep, context, pooled);
        output.Shape = sample.Shape!.With(1, config.OutChannels);
        graph.Output(output, "out_hidden_states");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="sample">Noisy latents [B,C,H,W].</param>
    /// <param name="timestep">1000 sigma, [B] or [1].</param>
    /// <param name="encoderHiddenStates">Text states [B,T,D].</param>
    /// <param name="pooledProjections">Pooled text [B,P].</param>
    /// <returns>The velocity [B,C,H,W].</returns>
    /// <exception cref="UserError">As <see cref="Build"/>.</exception>
    public static Value Forward(Module m, SD3Transformer2DConfig config, Value sample, Value timestep, Value encoderHiddenStates,
        Value pooledProjections)
    {
        using var scope = m.Scope();
        var inner = config.InnerDim;
        CheckSize(config, sample);
        var patches = m["pos_embed"]["proj"].Conv2d(sample, inner, config.PatchSize, config.PatchSize, padding: 0);
        var image = Blocks.Rows(patches) + Places(m["pos_embed"], config, patches);
        var condition = FlowCondition.Forward(m["time_text_embed"], inner, timestep, pooledProjections);
        var text = m["context_embedder"].Linear(encoderHiddenStates, inner);
        var options = new JointOptions(config.NumAttentionHeads, config.AttentionHeadDim, config.QkNorm);
        for (var i = 0; i < config.NumLayers; i++)
        {
            var last = i == config.NumLayers - 1;
            (image, var after) = JointBlock.Forward(m["transformer_blocks"][i], image, text, condition, options,
                config.DualAttentionLayers.Contains(i), last);
            text = after ?? text;
        }
        var cells = m["proj_out"]
            .Linear(AdaptiveNorm.Continuous(m["norm_out"], image, condition), config.PatchSize * config.PatchSize * config.OutChannels);
        return Unpatched(config, cells, patches);
    }

    /// <summary>
    /// The middle of the stored table of places, as large as the patches: [1,S,D]. It is a buffer, which is never trained.
    /// </summary>
    private static Value Places(Module m, SD3Transformer2DConfig config, Value patches)
    {
        using var scope = m.Scope();
        var (most, inner) = (config.PosEmbedMaxSize, config.InnerDim);
        var name = m["pos_embed"].Path;
        var g = m.Graph;
        if (!g.Values.TryGetValue(name, out var table)) table = g.Constant(m.Weights.Get(name, 1, most * most, inner)
            .Reshaped(most, most, inner), name);
        if (patches.Shape![2] is { IsKnown: true, Size: var rows } && patches.Shape[3] is { IsKnown: true, Size: var columns })
        {
            var (top, left) = ((most - rows) / 2, (most - columns) / 2);
            return table.Slice([0, 1], [top, left], [top + rows, left + columns], [1, 1]).Reshape(1, rows * columns, inner);
        }
        var size = g.Op("Shape", [patches]).Slice(0, 2, 4);
        var start = (g.Constant(Tensor.Vector(most, most)) - size) / g.Constant(Tensor.Vector(2, 2));
        return g.Op("Slice", [table, start, start + size, g.Constant(Tensor.Vector(0, 1))]).Reshape(1, -1, inner);
    }

    /// <summary>Rows [B,S,p*p*C] as cells [B,C,H,W].</summary>
    private static Value Unpatched(SD3Transformer2DConfig config, Value rows, Value patches)
    {
        var g = rows.Graph;
        var channels = config.PatchSize * config.PatchSize * config.OutChannels;
        var (x, shape) = (rows.Transpose(0, 2, 1), patches.Shape!.With(1, channels));
        if (shape[2].IsKnown && shape[3].IsKnown) x = x.Reshape(0, channels, shape[2].Size, shape[3].Size);
        else
        {
            x = g.Op("Reshape", [x, Layout.Concat(0, g.Constant(Tensor.Vector(0, channels)), g.Op("Shape", [patches]).Slice(0, 2, 4))]);
            x.Shape = shape;
        }
        return g.Op("DepthToSpace", [x], ("blocksize", config.PatchSize), ("mode", "DCR"));
    }

    private static void CheckSize(SD3Transformer2DConfig config, Value sample)
    {
        foreach (var axis in (int[])[2, 3])
        {
            if (sample.Shape![axis] is not { IsKnown: true } size) continue;
            if (size.Size % config.PatchSize != 0 || size.Size / config.PatchSize > config.PosEmbedMaxSize)
                throw new UserError($"{SD3Transformer2DConfig.ClassName}: expected latents of a height and width that {config.PatchSize} "
                    + $"divides, at most {config.PatchSize * config.PosEmbedMaxSize}, got {size}");
        }
    }
}
