using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// The denoiser of unconditional diffusion models (DDPM): a U-Net of residual blocks with attention to the cells of the image. Source: Ho
/// et al., 2020.
/// Parameters have diffusers' names.
/// </summary>
public static class UNet2DModel
{
    /// <summary>A graph of the model: sample [B,C,H,W], timestep [B] or [1] (int64) to out_sample [B,C,H,W].</summary>
    /// <param name="config">Its configuration.</param>
    /// <param name="weights">Its weights; they give the element type too.</param>
    /// <param name="batch">Samples; open by default.</param>
    /// <param name="height">Height; open by default.</param>
    /// <param name="width">Width; open by default.</param>
    /// <param name="timestep">Type of the timestep; Float for a flow, whose times are no whole numbers.</param>
    /// <exception cref="UserError">Weights are missing or have other shapes, or sizes do not fit each other.</exception>
    public static OnnxGraph Build(UNet2DConfig config, Weights weights, Dim? batch = null, Dim? height = null, Dim? width = null,
        ElementType timestep = ElementType.Int64)
    {
        var graph = new OnnxGraph("unet");
        var b = batch ?? "batch";
        var sample = graph.Input("sample", weights.Type, b, config.InChannels, height ?? "height", width ?? "width");
        var time = graph.Input("timestep", timestep, b.IsKnown ? b : (Dim)"steps");
        var output = Forward(new Module(graph, weights), config, sample, time);
        output.Shape = sample.Shape!.With(1, config.OutChannels);
        graph.Output(output, "out_sample");
        return graph;
    }

    /// <summary>Adds the model to a graph.</summary>
    /// <param name="m">Where its weights are.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="sample">Noisy images [B,C,H,W].</param>
    /// <param name="timestep">Timestep indices, [B] or [1].</param>
    /// <returns>Noise, velocity or sample [B,C,H,W], whatever the model predicts.</returns>
    /// <exception cref="UserError">Weights are missing or have other shapes, or sizes do not fit each other.</exception>
    public static Value Forward(Module m, UNet2DConfig config, Value sample, Value timestep)
    {
        using var scope = m.Scope();
        var channels = config.BlockOutChannels;
        var resnet = new ResnetOptions(config.NormNumGroups, config.NormEps, config.ActFn) { ScaleShift = config.ResnetScaleShift };
        var sinusoids = Cast(Blocks.Sinusoids(timestep, channels[0], config.FlipSinToCos, config.FreqShift), sample.Type);
        var time = Blocks.Mlp(m["time_embedding"], sinusoids, config.TimeEmbeddingDim, "silu");

        var x = m["conv_in"].Conv2d(config.CenterInputSample ? (sample * 2) - 1 : sample, channels[0]);
        var skips = new Stack<Value>([x]);
        for (var i = 0; i < channels.Length; i++)
        {
            var block = m["down_blocks"][i];
            for (var n = 0; n < config.LayersPerBlock; n++)
            {
                x = Blocks.Resnet(block["resnets"][n], x, channels[i], time, resnet);
                if (config.DownBlockTypes[i] == "AttnDownBlock2D") x = Attention(block["attentions"][n], x, config.NormNumGroups);
                skips.Push(x);
            }
            if (i == channels.Length - 1) continue;
            x = Blocks.Downsample(block["downsamplers"][0], x, channels[i], config.DownsamplePadding);
            skips.Push(x);
        }

        if (config.HasMiddle)
        {
            var block = m["mid_block"];
            var middle = resnet with { OutputScale = config.MidBlockScaleFactor };
            x = Blocks.Resnet(block["resnets"][0], x, channels[^1], time, middle);
            if (config.AddAttention) x = Attention(block["attentions"][0], x, config.AttnNormNumGroups, config.MidBlockScaleFactor);
            x = Blocks.Resnet(block["resnets"][1], x, channels[^1], time, middle);
        }

        for (var i = 0; i < channels.Length; i++)
        {
            var block = m["up_blocks"][i];
            for (var n = 0; n <= config.LayersPerBlock; n++)
            {
                x = Blocks.Resnet(block["resnets"][n], Layout.Concat(1, x, skips.Pop()), channels[^(i + 1)], time, resnet);
                if (config.UpBlockTypes[i] == "AttnUpBlock2D") x = Attention(block["attentions"][n], x, config.NormNumGroups);
            }
            if (i < channels.Length - 1) x = Blocks.Upsample(block["upsamplers"][0], x, channels[^(i + 1)], skips.Peek());
        }
        x = Silu(m["conv_norm_out"].GroupNorm(x, config.NormNumGroups, config.NormEps));
        return m["conv_out"].Conv2d(x, config.OutChannels);

        Value Attention(Module attention, Value cells, long? groups, double scale = 1)
        {
            var width = cells.Shape![1].Size;
            var head = Math.Min(config.AttentionHeadDim ?? width, width);
            if (width % head != 0) throw new UserError(
                $"module '{attention.Path}': expected channels that attention_head_dim divides, got {width} and {head}; check config.json");
            return Blocks.ImageAttention(attention, cells, head, groups, config.NormEps, scale);
        }
    }
}
