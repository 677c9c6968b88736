using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models;

/// <summary>
/// The autoencoder of Stable Diffusion (diffusers' AutoencoderKL): images in [-1, 1] to a Gaussian over latents, and back. Latents are
/// neither scaled
/// nor shifted here. Source: Rombach et al., 2022. Parameters have diffusers' names.
/// </summary>
public static class AutoencoderKl
{
    /// <summary>
    /// A graph of the encoder with Optimum's names: sample [B,3,H,W] to latent_parameters [B,2C,h,w], the means and then the log-variances
    /// (diffusers
    /// clamps these to [-30, 20] before it draws a latent).
    /// </summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildEncoder(AutoencoderKlConfig config, Weights weights, Dim? batch = null, Dim? height = null,
        Dim? width = null)
    {
        var graph = new OnnxGraph("vae_encoder");
        var sample = graph.Input("sample", weights.Type, batch ?? "batch", config.InChannels, height ?? "height", width ?? "width");
        graph.Output(Encode(new Module(graph, weights), config, sample), "latent_parameters");
        return graph;
    }

    /// <summary>A graph of the decoder with Optimum's names: latent_sample [B,C,h,w] to sample [B,3,H,W].</summary>
    /// <exception cref="UserError">Weights are missing or have other shapes.</exception>
    public static OnnxGraph BuildDecoder(AutoencoderKlConfig config, Weights weights, Dim? batch = null, Dim? height = null,
        Dim? width = null)
    {
        var graph = new OnnxGraph("vae_decoder");
        var latent = graph.Input("latent_sample", weights.Type, batch ?? "batch", config.LatentChannels, height ?? "latent_height", width
            ?? "latent_width");
        graph.Output(Decode(new Module(graph, weights), config, latent), "sample");
        return graph;
    }

    /// <summary>Adds the encoder to a graph: image [B,3,H,W] in [-1, 1] to means and log-variances [B,2C,h,w].</summary>
    /// <param name="m">Where its weights are: the module that has the part <c>encoder</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="image">Images.</param>
    public static Value Encode(Module m, AutoencoderKlConfig config, Value image)
    {
        var encoder = m["encoder"];
        var channels = config.BlockOutChannels;
        var x = encoder["conv_in"].Conv2d(image, channels[0]);
        for (var stage = 0; stage < channels.Length; stage++)
        {
            var block = encoder["down_blocks"][stage];
            for (var i = 0; i < config.LayersPerBlock; i++) x = Blocks.Resnet(block["resnets"][i], x, channels[stage], null,
                Resnet(config));
            if (stage < channels.Length - 1) x = Blocks.Downsample(block["downsamplers"][0], x, channels[stage], padding: 0);
        }
        x = Middle(encoder["mid_block"], config, x);
        x = Last(encoder, config, x, 2 * config.LatentChannels);
        return config.UseQuantConv ? m["quant_conv"].Conv2d(x, 2 * config.LatentChannels, kernel: 1) : x;
    }

    /// <summary>Adds the decoder to a graph: latents [B,C,h,w] to images [B,3,H,W], about in [-1, 1], not clamped.</summary>
    /// <param name="m">Where its weights are: the module that has the part <c>decoder</c>.</param>
    /// <param name="config">Its configuration.</param>
    /// <param name="latent">Latents.</param>
    public static Value Decode(Module m, AutoencoderKlConfig config, Value latent)
    {
        var decoder = m["decoder"];
        var stages = config.BlockOutChannels.Length;
        var x = config.UsePostQuantConv ? m["post_quant_conv"].Conv2d(latent, config.LatentChannels, kernel: 1) : latent;
        x = decoder["conv_in"].Conv2d(x, config.BlockOutChannels[^1]);
        x = Middle(decoder["mid_block"], config, x);
        for (var stage = 0; stage < stages; stage++)
        {
            var block = decoder["up_blocks"][stage];
            var channels = config.BlockOutChannels[stages - 1 - stage];
            for (var i = 0; i <= config.LayersPerBlock; i++) x = Blocks.Resnet(block["resnets"][i], x, channels, null, Resnet(config));
            if (stage < stages - 1) x = Blocks.Upsample(block["upsamplers"][0], x, channels);
        }
        return Last(decoder, config, x, config.OutChannels);
    }

    private const double Epsilon = 1e-6;

    private static ResnetOptions Resnet(AutoencoderKlConfig config) => new(config.NormNumGroups, Epsilon, config.ActFn);

    private static Value Middle(Module m, AutoencoderKlConfig config, Value x)
    {
        var channels = config.BlockOutChannels[^1];
        x = Blocks.Resnet(m["resnets"][0], x, channels, null, Resnet(config));
        if (config.MidBlockAddAttention) x = Blocks.ImageAttention(m["attentions"][0], x, headWidth: channels, config.NormNumGroups,
            Epsilon);
        return Blocks.Resnet(m["resnets"][1], x, channels, null, Resnet(config));
    }

    private static Value Last(Module m, AutoencoderKlConfig config, Value x, long channels)
    {
        using (m.Scope()) x = Silu(m["conv_norm_out"].GroupNorm(x, config.NormNumGroups, Epsilon));
        return m["conv_out"].Conv2d(x, channels);
    }
}
