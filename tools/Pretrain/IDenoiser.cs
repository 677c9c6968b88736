using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Pretrain;

/// <summary>What a denoiser's training has to know of it.</summary>
internal interface IDenoiser
{
    /// <summary>config.json of each part that is trained, the denoiser first.</summary>
    IReadOnlyDictionary<string, string> Configs { get; }

    /// <summary>Tensors that are part of the weights but not trained.</summary>
    IReadOnlyDictionary<string, Tensor> Buffers { get; }

    /// <summary>Writes what is not trained.</summary>
    void WriteFrame(string folder);

    /// <summary>Its output for noisy latents.</summary>
    /// <param name="graph">Where it is added.</param>
    /// <param name="weights">Weights of all parts.</param>
    /// <param name="sample">Noisy latents [B,C,H,W].</param>
    /// <param name="timestep">Timesteps [B].</param>
    /// <param name="ids">Tokens of the captions [B,T].</param>
    Value Forward(OnnxGraph graph, Weights weights, Value sample, Value timestep, Value ids);

    /// <summary>Draws a noise level, mixes latents and noise, and says what the output is to be.</summary>
    /// <param name="z">A standard normal number that decides the level.</param>
    /// <param name="x0">The latents.</param>
    /// <param name="noise">The noise.</param>
    /// <param name="x">Receives the mixture.</param>
    /// <param name="target">Receives the target.</param>
    /// <returns>The timestep.</returns>
    float AddNoise(double z, ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> x, Span<float> target);
}
