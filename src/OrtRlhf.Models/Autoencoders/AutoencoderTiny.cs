using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// The small autoencoder without normalisation (diffusers' AutoencoderTiny). Source: Ollin Boer Bohan's TAESD, 2023. Images are in [-1, 1];
/// latents are neither scaled nor shifted here. Parameters have diffusers' names.
/// </summary>
public static class AutoencoderTiny
{
    /// <summary>A graph of the encoder with Optimum's names: sample [B,3,H,W] to latent_sample [B,C,h,w] (it has no variance).</summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildEncoder(AutoencoderTinyConfig config, Weights weights, Dim? batch = null, Dim? height = null,
        Dim? width = null)
    {
        var graph = new OnnxGraph("vae_encoder");
        var sample = graph.Input("sample", weights.Type, batch ?? "batch", config.InChannels, height ?? "height", width ?? "width");
        graph.Output(Encode(new Module(graph, weights), config, sample), "latent_sample");
        return graph;
    }

    /// <summary>A graph of the decoder with Optimum's names: latent_sample [B,C,h,w] to sample [B,3,H,W].</summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildDecoder(AutoencoderTinyConfig config, Weights weights, Dim? batch = null, Dim? height = null,
        Dim? width = null)
    {
        var graph = new OnnxGraph("vae_decoder");
        var latent = graph.Input("latent_sample", weights.Type, batch ?? "batch", config.LatentChannels, height ?? "latent_height", width
            ?? "latent_width");
        graph.Output(Decode(new Module(graph, weights), config, latent), "sample");
        return graph;
    }

    /// <summary>Adds the encoder to a graph: image [B,3,H,W] in [-1, 1] to latents [B,C,h,w].</summary>
    /// <param name="m">Where its weights are: the module that has the part <c>encoder</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="image">Images.</param>
    public static Value Encode(Module m, AutoencoderTinyConfig config, Value image)
    {
        m = m["encoder"];
        using var scope = m.Scope();
        var layers = m["layers"];
        var next = 0;
        var x = (image + 1) / 2;
        for (var stage = 0; stage < config.NumEncoderBlocks.Length; stage++)
        {
            var channels = config.EncoderBlockOutChannels[stage];
            x = layers[next++].Conv2d(x, channels, stride: stage == 0 ? 1 : 2, bias: stage == 0);
            for (var i = 0; i < config.NumEncoderBlocks[stage]; i++) x = Block(layers[next++], x, channels, config.ActFn);
        }
        return layers[next].Conv2d(x, config.LatentChannels);
    }

    /// <summary>Adds the decoder to a graph: latents [B,C,h,w] to images [B,3,H,W], about in [-1, 1], not clamped.</summary>
    /// <param name="m">Where its weights are: the module that has the part <c>decoder</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="latent">Latents.</param>
    public static Value Decode(Module m, AutoencoderTinyConfig config, Value latent)
    {
        m = m["decoder"];
        using var scope = m.Scope();
        var layers = m["layers"];
        var x = Activation.Apply(config.ActFn, layers[0].Conv2d(Tanh(latent / 3) * 3, config.DecoderBlockOutChannels[0]));
        var next = 2; // the activation counts as a layer, and so does the enlargement
        for (var stage = 0; stage < config.NumDecoderBlocks.Length; stage++)
        {
            var channels = config.DecoderBlockOutChannels[stage];
            var last = stage == config.NumDecoderBlocks.Length - 1;
            for (var i = 0; i < config.NumDecoderBlocks[stage]; i++) x = Block(layers[next++], x, channels, config.ActFn);
            if (!last)
            {
                using var inLayer = layers[next++].Scope();
                x = UpsampleNearest(x, config.UpsamplingScalingFactor);
            }
            x = layers[next++].Conv2d(x, last ? config.OutChannels : channels, bias: last);
        }
        return (x * 2) - 1;
    }

    // relu(conv(act(conv(act(conv(x))))) + x), the skip by a 1x1 convolution where the width changes.
    private static Value Block(Module m, Value x, long channels, string activation)
    {
        using var scope = m.Scope();
        var conv = m["conv"];
        var h = Activation.Apply(activation, conv[0].Conv2d(x, channels));
        h = Activation.Apply(activation, conv[2].Conv2d(h, channels));
        h = conv[4].Conv2d(h, channels);
        if (x.Shape![1].Size != channels) x = m["skip"].Conv2d(x, channels, kernel: 1, bias: false);
        return Relu(h + x);
    }
}
