using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>What a CLIP text encoder gives.</summary>
/// <param name="LastHiddenState">States [B,S,D] behind the final layer normalisation.</param>
/// <param name="PoolerOutput">The final state of the end-of-text token [B,D].</param>
/// <param name="HiddenStates">States [B,S,D] before the first layer and behind each, without the final normalisation.</param>
public sealed record ClipTextOutput(Value LastHiddenState, Value PoolerOutput, IReadOnlyList<Value> HiddenStates);

/// <summary>
/// CLIP's text encoder (CLIPTextModel, CLIPTextModelWithProjection): a causal transformer; padding is not masked.
/// Source: Radford et al., 2021. Parameters have transformers' names.
/// </summary>
public static class ClipTextModel
{
    /// <summary>
    /// A graph of the model with Optimum's names: input_ids int64 [B,S] to last_hidden_state [B,S,D] and pooler_output [B,D]; with a
    /// projection to
    /// text_embeds [B,P] and last_hidden_state. The states of each layer follow as hidden_states.0, hidden_states.1, ... if asked for.
    /// </summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="projection">Whether it is a CLIPTextModelWithProjection.</param>
    /// <param name="hiddenStates">Whether the states of each layer are outputs (SDXL conditions on the last but one).</param>
    /// <param name="batch">Texts; open by default.</param>
    /// <param name="sequence">Tokens a text; the longest the model knows by default.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph Build(ClipTextConfig config, Weights weights, bool projection = false, bool hiddenStates = false,
        Dim? batch = null, Dim? sequence = null)
    {
        var graph = new OnnxGraph("text_encoder");
        var ids = graph.Input("input_ids", ElementType.Int64, batch ?? "batch", sequence ?? config.MaxPositionEmbeddings);
        var m = new Module(graph, weights);
        var output = Forward(m, config, ids);
        if (projection) graph.Output(Project(m, config, output), "text_embeds");
        graph.Output(output.LastHiddenState, "last_hidden_state");
        if (!projection) graph.Output(output.PoolerOutput, "pooler_output");
        for (var i = 0; hiddenStates && i < output.HiddenStates.Count; i++) graph.Output(output.HiddenStates[i], $"hidden_states.{i}");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are: the module that has the part <c>text_model</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="inputIds">Token ids int64 [B,S].</param>
    /// <exception cref="UserError">Weights are missing or have other shapes, or the sequence is longer than the model knows.</exception>
    public static ClipTextOutput Forward(Module m, ClipTextConfig config, Value inputIds)
    {
        m = m["text_model"];
        using var scope = m.Scope();
        var graph = m.Graph;
        var length = inputIds.Shape![1];
        var longest = config.MaxPositionEmbeddings;
        if (length.IsKnown && length.Size > longest)
            throw new UserError($"CLIPTextModel: expected at most {longest} tokens (max_position_embeddings), got {length}");
        // Sizes that are open are read when the model runs.
        var end = length.IsKnown ? null : graph.Op("Shape", [inputIds]).Slice(0, 1, 2);

        Value x;
        var embeddings = m["embeddings"];
        using (embeddings.Scope())
        {
            var tokens = embeddings["token_embedding"].Embedding(inputIds, config.VocabSize, config.HiddenSize);
            x = tokens + First(embeddings["position_embedding"].Parameter("weight", longest, config.HiddenSize), 0);
        }
        var mask = First(First(graph.Constant(CausalMask(longest).As(x.Type)), 0), 1);
        var states = ClipEncoder.Forward(m["encoder"], x, config.NumHiddenLayers, config.NumAttentionHeads, config.IntermediateSize,
            config.HiddenAct, config.LayerNormEps, mask);
        var last = m["final_layer_norm"].LayerNorm(states[^1], config.LayerNormEps);
        return new ClipTextOutput(last, Pool(last), states);

        Value First(Value table, int axis)
        {
            if (length.IsKnown) return length.Size == longest ? table : table.Slice(axis, 0, length.Size);
            return graph.Op("Slice", [table, graph.Constant(Tensor.Vector(0)), end, graph.Constant(Tensor.Vector(axis))]);
        }

        // The first place of the end-of-text token, as a row of zeros with a one; in old configurations that token is the largest id.
        Value Pool(Value states)
        {
            var ids = Cast(inputIds, ElementType.Float);
            var marks = config.EosTokenId == 2 ? ids
                : Cast(graph.Op("Equal", [inputIds, graph.Scalar(ElementType.Int64, config.EosTokenId)]), ElementType.Float);
            var place = graph.Op("ArgMax", [marks], ("axis", 1L), ("keepdims", 1L));
            var places = First(graph.Constant(Tensor.Vector([.. Enumerable.Range(0, (int)longest).Select(i => (long)i)])), 0);
            var pick = Cast(graph.Op("Equal", [place, places]), states.Type).Unsqueeze(1);
            return MatMul(pick, states).Squeeze(1);
        }
    }

    /// <summary>The projected text [B,P] of a model that has <c>text_projection</c>.</summary>
    public static Value Project(Module m, ClipTextConfig config, ClipTextOutput output) =>
        m["text_projection"].Linear(output.PoolerOutput, config.ProjectionDim, bias: false);

    private static Tensor CausalMask(long size)
    {
        // The lowest half-precision number, so that the mask is the same in both precisions.
        var mask = new float[size * size];
        for (var i = 0; i < size; i++) mask.AsSpan((int)((i * size) + i + 1), (int)(size - i - 1)).Fill(-65504f);
        return Tensor.Of(mask, size, size);
    }
}
