using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// T5's encoder: a transformer whose attention knows distances by learned biases, one table for all layers. Source: Raffel et al., 2020;
/// Shazeer, 2020 (gated).
/// Parameters have transformers' names.
/// </summary>
public static class T5EncoderModel
{
    /// <summary>
    /// A graph of the model with Optimum's names: input_ids int64 [B,S] to last_hidden_state [B,S,D]. The input attention_mask int64 [B,S]
    /// (1 for tokens, 0 for
    /// padding) may be left out: then padding is not masked, as the pipelines of SD3 and FLUX call it.
    /// </summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="batch">Texts; open by default.</param>
    /// <param name="sequence">Tokens a text; open by default.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph Build(T5Config config, Weights weights, Dim? batch = null, Dim? sequence = null)
    {
        var graph = new OnnxGraph("text_encoder");
        var ids = graph.Input("input_ids", ElementType.Int64, batch ?? "batch", sequence ?? "sequence");
        var mask = graph.Parameter("attention_mask", Tensor.Of([1L], 1, 1));
        mask.Shape = new Shape("rows of the mask", "tokens of the mask");
        graph.Output(Forward(new Module(graph, weights), config, ids, mask), "last_hidden_state");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="inputIds">Token ids int64 [B,S].</param>
    /// <param name="attentionMask">1 for tokens and 0 for padding, int64, broadcast to [B,S]; null for no mask.</param>
    /// <returns>States [B,S,D] behind the final normalisation.</returns>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static Value Forward(Module m, T5Config config, Value inputIds, Value? attentionMask = null)
    {
        using var scope = m.Scope();
        var x = m["shared"].Embedding(inputIds, config.VocabSize, config.DModel);
        m = m["encoder"];
        var bias = Bias(m["block"][0]["layer"][0]["SelfAttention"]["relative_attention_bias"], config, inputIds);
        if (attentionMask is not null)
        {
            var lowest = x.Type == ElementType.Float16 ? (double)Half.MinValue : float.MinValue;
            bias += ((1 - Cast(attentionMask, x.Type)) * lowest).Unsqueeze(1, 2);
        }
        for (var i = 0; i < config.NumLayers; i++)
        {
            var layer = m["block"][i]["layer"];
            x += Attention(layer[0]["SelfAttention"], layer[0]["layer_norm"].RmsNorm(x, config.LayerNormEpsilon), bias, config);
            x += FeedForward(layer[1]["DenseReluDense"], layer[1]["layer_norm"].RmsNorm(x, config.LayerNormEpsilon), config);
        }
        return m["final_layer_norm"].RmsNorm(x, config.LayerNormEpsilon);
    }

    // The scores are not divided by the root of the width.
    private static Value Attention(Module m, Value x, Value bias, T5Config config)
    {
        using var scope = m.Scope();
        var o = Functions.Attention(Heads("q"), Heads("k"), Heads("v"), 1, bias);
        return m["o"].Linear(o.Transpose(0, 2, 1, 3).Reshape(0, 0, config.NumHeads * config.DKv), config.DModel, bias: false);

        Value Heads(string name) =>
            m[name].Linear(x, config.NumHeads * config.DKv, bias: false).Reshape(0, 0, config.NumHeads, config.DKv).Transpose(0, 2, 1, 3);
    }

    private static Value FeedForward(Module m, Value x, T5Config config)
    {
        using var scope = m.Scope();
        var h = config.IsGated
            ? Activation.Apply(config.Activation, m["wi_0"].Linear(x, config.DFf, bias: false)) * m["wi_1"]
                .Linear(x, config.DFf, bias: false)
            : Activation.Apply(config.Activation, m["wi"].Linear(x, config.DFf, bias: false));
        return m["wo"].Linear(h, config.DModel, bias: false);
    }

    /// <summary>Biases [1,heads,S,S] of the distances from queries to keys.</summary>
    private static Value Bias(Module m, T5Config config, Value inputIds)
    {
        using var scope = m.Scope();
        var g = m.Graph;
        var farthest = config.RelativeAttentionMaxDistance;
        var buckets = new long[(2 * farthest) + 1];
        for (var d = -farthest; d <= farthest; d++) buckets[d + farthest] = Bucket(d, config);
        var byDistance = m.Embedding(g.Constant(Tensor.Vector(buckets)), config.RelativeAttentionNumBuckets, config.NumHeads);
        var places = Places(inputIds);
        var distance = Clip(places.Unsqueeze(0) - places.Unsqueeze(1), -farthest, farthest) + farthest;
        return byDistance.Gather(distance).Transpose(2, 0, 1).Unsqueeze(0);
    }

    private static Value Places(Value ids)
    {
        var g = ids.Graph;
        if (ids.Shape![1] is
            {
                IsKnown: true,
                Size: var size
            }) return g.Constant(Tensor.Vector([.. Enumerable.Range(0, (int)size).Select(i => (long)i)]));
        var length = g.Op("Shape", [ids]).Slice(0, 1, 2).Squeeze(0);
        return g.Op("Range", [g.Scalar(ElementType.Int64, 0), length, g.Scalar(ElementType.Int64, 1)]);
    }

    /// <summary>
    /// Near distances have a bias each, farther ones share it with more and more; keys behind the query have the upper half of the table.
    /// </summary>
    private static long Bucket(long distance, T5Config config)
    {
        var half = config.RelativeAttentionNumBuckets / 2;
        var exact = half / 2;
        var (side, size) = (distance > 0 ? half : 0, Math.Abs(distance));
        if (size < exact) return side + size;
        // In single precision, as the reference rounds.
        var share = MathF.Log((float)size / exact) / (float)Math.Log((double)config.RelativeAttentionMaxDistance / exact);
        return side + Math.Min(exact + (long)(share * (half - exact)), half - 1);
    }
}
