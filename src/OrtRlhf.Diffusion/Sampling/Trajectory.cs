using OrtRlhf.Diffusion.Images;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>What to sample: a prompt and the key of its random numbers.</summary>
/// <param name="Prompt">The prompt.</param>
/// <param name="Seed">The run's seed.</param>
/// <param name="Epoch">The epoch.</param>
/// <param name="Sample">The sample's number in it.</param>
/// <param name="InitialNoise">The sample whose first noise it shares; null, the default, for its own.</param>
public sealed record SampleRequest(string Prompt, ulong Seed, uint Epoch, uint Sample, uint? InitialNoise = null);

/// <summary>The path of one sample from noise to image, as the policy took it.</summary>
/// <param name="Request">What was asked.</param>
/// <param name="Latents">The latents x of all steps one behind the other, [N+1, C*H*W]: the first is noise, the last the result.</param>
/// <param name="LogProbs">log p(x' | x) of each step [N], nats, mean over elements; NaN for a step without a density.</param>
public sealed record Trajectory(SampleRequest Request, float[] Latents, double[] LogProbs)
{
    /// <summary>The steps it took; null of a solver's, and where its steps were not kept.</summary>
    public SamplerTable? Table { get; init; }

    /// <summary>Room for N steps; with 0 for the result alone.</summary>
    internal static Trajectory Begin(SampleRequest request, int length, int steps) =>
        new(request, new float[(steps + 1) * length], new double[steps]);

    /// <summary>Number of steps N; 0 where only the result was kept.</summary>
    public int Steps => LogProbs.Length;

    /// <summary>Elements of a latent.</summary>
    public int LatentLength => Latents.Length / (Steps + 1);

    /// <summary>The latent before a step; <c>Latent(N)</c> is the result.</summary>
    public ReadOnlyMemory<float> Latent(int step) => Latents.AsMemory(step * LatentLength, LatentLength);
}

/// <summary>A sample with its image.</summary>
/// <param name="Trajectory">How it came about.</param>
/// <param name="Image">The decoded result.</param>
public sealed record SampledImage(Trajectory Trajectory, RgbImage Image)
{
    /// <summary>The prompt.</summary>
    public string Prompt => Trajectory.Request.Prompt;
}
