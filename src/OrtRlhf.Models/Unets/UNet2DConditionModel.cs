using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;

namespace OrtRlhf.Models;

/// <summary>
/// The denoiser of Stable Diffusion 1.x, 2.x and XL: a U-Net of residual blocks, with attention to the cells of the image and to text
/// states.
/// Source: Rombach et al., 2022; Podell et al., 2023. Parameters have diffusers' names.
/// </summary>
public static class UNet2DConditionModel
{
    /// <summary>
    /// A graph of the model with Optimum's names: sample [B,C,H,W], timestep [B] or [1] (int64), encoder_hidden_states [B,T,D]
    /// (and text_embeds [B,E], time_ids [B,N], timestep_cond [B,F], class_labels where the configuration has them) to out_sample [B,C,H,W].
    /// </summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="batch">Samples; open by default.</param>
    /// <param name="height">Height of the latents in cells; open by default.</param>
    /// <param name="width">Width of the latents in cells; open by default.</param>
    /// <param name="sequence">Text tokens; open by default.</param>
    /// <param name="timestep">Type of the timestep; Float for a flow, whose times are no whole numbers.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes, or sizes do not fit each other.</exception>
    public static OnnxGraph Build(UNet2DConditionConfig config, Weights weights, Dim? batch = null, Dim? height = null, Dim? width = null,
        Dim? sequence = null, ElementType timestep = ElementType.Int64)
    {
        var graph = new OnnxGraph("unet");
        var b = batch ?? "batch";
        var type = weights.Type;
        var sample = graph.Input("sample", type, b, config.InChannels, height ?? "height", width ?? "width");
        var time = graph.Input("timestep", timestep, b.IsKnown ? b : (Dim)"steps");
        var context = graph.Input("encoder_hidden_states", type, b, sequence ?? "sequence", config.ContextWidth);
        Value? textEmbeds = null, timeIds = null;
        if (config.TextTime)
        {
            var text = config.ProjectionClassEmbeddingsInputDim - (config.TimeIdCount * config.AdditionTimeEmbedDim);
            textEmbeds = graph.Input("text_embeds", type, b, text);
            timeIds = graph.Input("time_ids", type, b, config.TimeIdCount);
        }
        var timestepCond = config.TimeCondProjDim is { } f ? graph.Input("timestep_cond", type, b, f) : null;
        var classLabels = config.ClassEmbedType switch
        {
            null => null,
            "embedding" => graph.Input("class_labels", ElementType.Int64, b),
            "timestep" => graph.Input("class_labels", type, b),
            "identity" => graph.Input("class_labels", type, b, config.TimeEmbeddingDim),
            _ => graph.Input("class_labels", type, b, config.ProjectionClassEmbeddingsInputDim),
        };
        var output = Forward(new Module(graph, weights), config, sample, time, context, textEmbeds, timeIds, timestepCond, classLabels);
        output.Shape = sample.Shape!.With(1, config.OutChannels);
        graph.Output(output, "out_sample");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="sample">Noisy latents [B,C,H,W].</param>
    /// <param name="timestep">Timestep indices, [B] or [1].</param>
    /// <param name="encoderHiddenStates">Text states [B,T,D].</param>
    /// <param name="textEmbeds">Pooled text [B,E], for SDXL.</param>
    /// <param name="timeIds">Size numbers [B,N], for SDXL.</param>
    /// <param name="timestepCond">Additional condition [B,F], for models that have it.</param>
    /// <param name="classLabels">Class labels, for models that have them.</param>
    /// <returns>Noise, velocity or sample [B,C,H,W], whatever the model predicts.</returns>
    /// <exception cref="UserError">Weights are missing or have other shapes, or sizes do not fit each other.</exception>
    public static Value Forward(
        Module m, UNet2DConditionConfig config, Value sample, Value timestep, Value encoderHiddenStates,
        Value? textEmbeds = null, Value? timeIds = null, Value? timestepCond = null, Value? classLabels = null)
    {
        using var scope = m.Scope();
        var time = UNetEmbedding.Forward(m, config, sample.Type, timestep, textEmbeds, timeIds, timestepCond, classLabels);
        var context = config.EncoderHidDim is null ? encoderHiddenStates
            : m["encoder_hid_proj"].Linear(encoderHiddenStates, config.CrossAttentionDim[0]);
        var blocks = config.BlockOutChannels.Length;
        var resnet = new ResnetOptions(config.NormNumGroups, config.NormEps, config.ActFn) { ScaleShift = config.ResnetScaleShift };

        var x = config.CenterInputSample ? (sample * 2) - 1 : sample;
        x = m["conv_in"].Conv2d(x, config.BlockOutChannels[0], config.ConvInKernel, padding: (config.ConvInKernel - 1) / 2);
        var skips = new Stack<Value>([x]);
        for (var i = 0; i < blocks; i++)
        {
            var block = m["down_blocks"][i];
            using var inBlock = block.Scope();
            var channels = config.BlockOutChannels[i];
            for (var n = 0; n < config.LayersPerBlock[i]; n++)
            {
                x = Blocks.Resnet(block["resnets"][n], x, channels, time, resnet);
                if (config.DownBlockTypes[i] == "CrossAttnDownBlock2D")
                    x = Transformer2D.Forward(block["attentions"][n], x, context, config.TransformerLayersPerBlock[i][n], Attention(i));
                skips.Push(x);
            }
            if (i == blocks - 1) continue;
            x = Blocks.Downsample(block["downsamplers"][0], x, channels, config.DownsamplePadding);
            skips.Push(x);
        }

        if (config.MidBlockType is not null)
        {
            var block = m["mid_block"];
            using var inBlock = block.Scope();
            var middle = resnet with { OutputScale = config.MidBlockScaleFactor };
            var channels = config.BlockOutChannels[^1];
            x = Blocks.Resnet(block["resnets"][0], x, channels, time, middle);
            if (config.MidBlockType == "UNetMidBlock2DCrossAttn")
            {
                x = Transformer2D.Forward(block["attentions"][0], x, context, config.TransformerLayersPerBlock[^1][0],
                    Attention(blocks - 1) with { OnlyCross = false });
                x = Blocks.Resnet(block["resnets"][1], x, channels, time, middle);
            }
        }

        for (var i = 0; i < blocks; i++)
        {
            var block = m["up_blocks"][i];
            using var inBlock = block.Scope();
            var level = blocks - 1 - i;
            var channels = config.BlockOutChannels[level];
            for (var n = 0; n <= config.LayersPerBlock[level]; n++)
            {
                x = Blocks.Resnet(block["resnets"][n], Layout.Concat(1, x, skips.Pop()), channels, time, resnet);
                if (config.UpBlockTypes[i] != "CrossAttnUpBlock2D") continue;
                var layers = config.ReverseTransformerLayersPerBlock?[i][n] ?? config.TransformerLayersPerBlock[level][0];
                x = Transformer2D.Forward(block["attentions"][n], x, context, layers, Attention(level));
            }
            if (i < blocks - 1) x = Blocks.Upsample(block["upsamplers"][0], x, channels, skips.Peek());
        }

        x = Activation.Apply(config.ActFn, m["conv_norm_out"].GroupNorm(x, config.NormNumGroups, config.NormEps));
        return m["conv_out"].Conv2d(x, config.OutChannels, config.ConvOutKernel, padding: (config.ConvOutKernel - 1) / 2);

        TransformerOptions Attention(int level) =>
            new(config.NumAttentionHeads[level], config.NormNumGroups, config.UseLinearProjection, config.OnlyCrossAttention[level],
                config.UpcastAttention);
    }
}
