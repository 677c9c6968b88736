using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;

namespace OrtRlhf.Tests;

/// <summary>Policies with adapters that do something.</summary>
internal static class RandomPolicy
{
    /// <summary>A policy whose A and B are all random.</summary>
    public static Policy Create(ImageModel model, LoraOptions lora)
    {
        var policy = Policy.Create(model, lora, seed: 1);
        foreach (var (name, i) in policy.Adapters.Names.Select((n, i) => (n, i)))
        {
            new Philox(11, 0, (uint)i, 0).FillGaussian(policy.Adapters[name]);
            foreach (ref var value in policy.Adapters[name]) value *= 0.3f;
        }
        return policy;
    }

    /// <summary>Its denoiser's output at given inputs.</summary>
    public static float[] Denoise(Policy policy)
    {
        using var session = new GraphSession(policy.Denoiser("batch").Graph, new SessionSettings { Threads = 1 }).Bind(policy.Adapters);
        using var x = Enumerable.Range(0, 2 * policy.Model.Latent.Count).Select(i => MathF.Sin(i)).ToArray()
            .ToOrt(2, 4, TinyModel.Cells, TinyModel.Cells);
        using var t = new long[] { 999, 20 }.ToOrt(2);
        using var c = Enumerable.Range(0, 2 * TinyModel.Tokens * TinyModel.Width).Select(i => MathF.Cos(i)).ToArray()
            .ToOrt(2, TinyModel.Tokens, TinyModel.Width);
        return session.Run(("sample", x), ("timestep", t), ("encoder_hidden_states", c))["out_sample"];
    }
}
