using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// The velocity model of FLUX.1: blocks of image and text as in Stable Diffusion 3, then blocks of both in one sequence, places by
/// rotation.
/// Source: Black Forest Labs, 2024. Parameters have diffusers' names.
/// </summary>
public static class FluxTransformer2DModel
{
    /// <summary>
    /// A graph of the model with Optimum's names: hidden_states [B,S,C] (packed latents), timestep [B] or [1] (sigma from 0 to 1, float),
    /// encoder_hidden_states [B,T,D], pooled_projections [B,P], img_ids [S,3] and txt_ids [T,3] (float), guidance [B] or [1] where the
    /// configuration has it
    /// (float), to out_hidden_states [B,S,C], the velocity noise - x0.
    /// </summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="batch">Samples; open by default.</param>
    /// <param name="cells">Packed cells of the latents; open by default.</param>
    /// <param name="sequence">Text tokens; open by default.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph Build(FluxTransformer2DConfig config, Weights weights, Dim? batch = null, Dim? cells = null,
        Dim? sequence = null)
    {
        var graph = new OnnxGraph("transformer");
        var (b, s, t) = (batch ?? "batch", cells ?? "packed_height_width", sequence ?? "sequence");
        var (type, axes, steps) = (weights.Type, config.AxesDimsRope.Count, b.IsKnown ? b : (Dim)"steps");
        var sample = graph.Input("hidden_states", type, b, s, config.InChannels);
        var timestep = graph.Input("timestep", ElementType.Float, steps);
        var context = graph.Input("encoder_hidden_states", type, b, t, config.JointAttentionDim);
        var pooled = graph.Input("pooled_projections", type, b, config.PooledProjectionDim);
        var imageIds = graph.Input("img_ids", ElementType.Float, s, axes);
        var textIds = graph.Input("txt_ids", ElementType.Float, t, axes);
        var guidance = config.GuidanceEmbeds ? graph.Input("guidance", ElementType.Float, steps) : null;
        var output = Forward(new Module(graph, weights), config, sample, timestep, context, pooled, imageIds, textIds, guidance);
        output.Shape = new Shape(b, s, config.PatchSize * config.PatchSize * config.OutChannels);
        graph.Output(output, "out_hidden_states");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="sample">Packed noisy latents [B,S,C].</param>
    /// <param name="timestep">Sigma, [B] or [1]; the model multiplies it by 1000.</param>
    /// <param name="encoderHiddenStates">Text states [B,T,D].</param>
    /// <param name="pooledProjections">Pooled text [B,P].</param>
    /// <param name="imageIds">Places of the cells [S,axes]: 0, row, column.</param>
    /// <param name="textIds">Places of the tokens [T,axes]: zeros.</param>
    /// <param name="guidance">Guidance, [B] or [1], for models that have it; the model multiplies it by 1000.</param>
    /// <returns>The velocity [B,S,C].</returns>
    /// <exception cref="UserError">Weights are missing or have other shapes, or the guidance is missing.</exception>
    public static Value Forward(
        Module m, FluxTransformer2DConfig config, Value sample, Value timestep, Value encoderHiddenStates, Value pooledProjections,
            Value imageIds, Value textIds, Value? guidance = null)
    {
        using var scope = m.Scope();
        if (config.GuidanceEmbeds && guidance is null) throw new UserError(
            $"{FluxTransformer2DConfig.ClassName}: expected the input guidance, which config.json asks for, got none");
        var inner = config.InnerDim;
        var image = m["x_embedder"].Linear(sample, inner);
        var text = m["context_embedder"].Linear(encoderHiddenStates, inner);
        var condition = FlowCondition.Forward(m["time_text_embed"], inner, timestep * 1000.0, pooledProjections, config.GuidanceEmbeds
            ? guidance! * 1000.0 : null);
        var options = new JointOptions(config.NumAttentionHeads, config.AttentionHeadDim, Normalized: true)
        {
            TextFirst = true,
            Rotation = new RotaryEmbedding(Layout.Concat(0, textIds, imageIds), config.AxesDimsRope, sample.Type),
        };
        for (var i = 0; i < config.NumLayers; i++)
        {
            (image, var after) = JointBlock.Forward(m["transformer_blocks"][i], image, text, condition, options);
            text = after!;
        }
        var joined = Layout.Concat(1, text, image);
        for (var i = 0; i < config.NumSingleLayers; i++) joined = Single(m["single_transformer_blocks"][i], joined, condition, options);
        (_, image) = JointAttention.Cut(joined, text);
        return m["proj_out"]
            .Linear(AdaptiveNorm.Continuous(m["norm_out"], image, condition), config.PatchSize * config.PatchSize * config.OutChannels);
    }

    // Attention and feed-forward layer side by side: x + gate W [attention(h), gelu(V h)], h the modulated state.
    private static Value Single(Module m, Value x, Value condition, JointOptions options)
    {
        using var scope = m.Scope();
        var width = x.Shape![-1].Size;
        var parts = AdaptiveNorm.Modulation(m["norm"], condition, width, 3);
        var h = AdaptiveNorm.Modulated(AdaptiveNorm.Standardized(x), parts[0], parts[1]);
        var wide = GeluTanh(m["proj_mlp"].Linear(h, 4 * width));
        return x + (parts[2] * m["proj_out"].Linear(Layout.Concat(-1, JointAttention.Own(m["attn"], h, options), wide), width));
    }
}
