using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>What CLIP's image encoder gives.</summary>
/// <param name="HiddenStates">States [B,1+N,D] of the image and its N patches, as the first layer takes them and behind each layer; before
/// the last layer normalisation.</param>
/// <param name="PoolerOutput">The normalised state of the image [B,D].</param>
/// <param name="Features">The projected image [B,P], of any length.</param>
public sealed record ClipVisionOutput(IReadOnlyList<Value> HiddenStates, Value PoolerOutput, Value Features)
{
    /// <summary>The states [B,1+N,D] behind the last layer.</summary>
    public Value LastHiddenState => HiddenStates[^1];
}

/// <summary>
/// CLIP: a text and an image encoder (a vision transformer) whose embeddings are compared by their angle. Source: Radford et al., 2021;
/// Dosovitskiy et al.,
/// 2021. Parameters have transformers' names.
/// </summary>
public static class ClipModel
{
    /// <summary>
    /// A graph of both towers with Optimum's names: input_ids int64 [T,S] and pixel_values [B,3,H,W] (normalised by CLIP's mean and
    /// deviation) to
    /// logits_per_image [B,T] = e^logit_scale cos(image, text), logits_per_text [T,B], text_embeds [T,P] and image_embeds [B,P], both of
    /// length 1.
    /// </summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph Build(ClipConfig config, Weights weights, Dim? texts = null, Dim? images = null, Dim? sequence = null)
    {
        var graph = new OnnxGraph("clip");
        var m = new Module(graph, weights);
        var ids = graph.Input("input_ids", ElementType.Int64, texts ?? "text_batch_size", sequence ?? config.Text.MaxPositionEmbeddings);
        var pixels = Pixels(graph, config, weights, images ?? "image_batch_size");
        var text = Normalised(ClipTextModel.Project(m, config.Text, ClipTextModel.Forward(m, config.Text, ids)));
        var image = Normalised(Encode(m, config, pixels).Features);
        var logits = MatMul(image, text.T()) * Exp(m.Parameter("logit_scale"));
        graph.Output(logits, "logits_per_image");
        graph.Output(logits.T(), "logits_per_text");
        graph.Output(text, "text_embeds");
        graph.Output(image, "image_embeds");
        return graph;
    }

    /// <summary>
    /// A graph of the image encoder: pixel_values [B,3,H,W] to image_embeds [B,P] of length 1, image_features [B,P] of any length,
    /// last_hidden_state
    /// [B,1+N,D] and pooler_output [B,D].
    /// </summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildVision(ClipConfig config, Weights weights, Dim? batch = null)
    {
        var graph = new OnnxGraph("vision_model");
        var output = Encode(new Module(graph, weights), config, Pixels(graph, config, weights, batch ?? "batch"));
        graph.Output(Normalised(output.Features), "image_embeds");
        graph.Output(output.Features, "image_features");
        graph.Output(output.LastHiddenState, "last_hidden_state");
        graph.Output(output.PoolerOutput, "pooler_output");
        return graph;
    }

    /// <summary>
    /// A graph of the text encoder: input_ids int64 [B,S] to text_embeds [B,P] of length 1, text_features [B,P] of any length,
    /// last_hidden_state [B,S,D] and
    /// pooler_output [B,D].
    /// </summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildText(ClipConfig config, Weights weights, Dim? batch = null, Dim? sequence = null)
    {
        var graph = new OnnxGraph("text_model");
        var m = new Module(graph, weights);
        var output = ClipTextModel.Forward(m, config.Text,
            graph.Input("input_ids", ElementType.Int64, batch ?? "batch", sequence ?? config.Text.MaxPositionEmbeddings));
        var features = ClipTextModel.Project(m, config.Text, output);
        graph.Output(Normalised(features), "text_embeds");
        graph.Output(features, "text_features");
        graph.Output(output.LastHiddenState, "last_hidden_state");
        graph.Output(output.PoolerOutput, "pooler_output");
        return graph;
    }

    /// <summary>Adds the image encoder to a graph.</summary>
    /// <param name="m">Where its weights are: the module that has the parts <c>vision_model</c> and <c>visual_projection</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="pixels">Normalised images [B,3,H,W].</param>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static ClipVisionOutput Encode(Module m, ClipConfig config, Value pixels)
    {
        var (vision, o) = (m["vision_model"], config.Vision);
        Value x;
        var embeddings = vision["embeddings"];
        using (embeddings.Scope())
        {
            var patches = Blocks.Rows(embeddings["patch_embedding"]
                .Conv2d(pixels, o.HiddenSize, o.PatchSize, o.PatchSize, padding: 0, bias: false));
            var image = (patches.Slice(1, 0, 1) * 0) + embeddings.Parameter("class_embedding", o.HiddenSize);
            x = Layout.Concat(1, image, patches) + embeddings["position_embedding"].Parameter("weight", o.Patches + 1, o.HiddenSize);
        }
        x = vision["pre_layrnorm"].LayerNorm(x, o.LayerNormEps); // spelt so in every file
        var states = ClipEncoder.Forward(vision["encoder"], x, o.NumHiddenLayers, o.NumAttentionHeads, o.IntermediateSize, o.HiddenAct,
            o.LayerNormEps, null);
        var pooled = vision["post_layernorm"].LayerNorm(states[^1].Slice(1, 0, 1).Squeeze(1), o.LayerNormEps);
        return new ClipVisionOutput(states, pooled, m["visual_projection"].Linear(pooled, config.ProjectionDim, bias: false));
    }

    private static Value Pixels(OnnxGraph graph, ClipConfig config, Weights weights, Dim batch) =>
        graph.Input("pixel_values", weights.Type, batch, config.Vision.NumChannels, config.Vision.ImageSize, config.Vision.ImageSize);

    // In single precision: a square of 256 is more than a half can hold.
    private static Value Normalised(Value x)
    {
        var single = Cast(x, ElementType.Float);
        return Cast(single / Sqrt(Sum(Square(single), [-1], keepDims: true)), x.Type);
    }
}
