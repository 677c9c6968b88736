using System.Globalization;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Preferences;

/// <summary>
/// The path of an image from noise, as a safetensors file: <c>latents</c> F32 [N+1,C,H,W] (x before step t is <c>latents[t]</c>, x' behind
/// it
/// <c>latents[t+1]</c>), <c>timesteps</c> I64 [N], <c>log_probs</c> F64 [N] in nats, mean over elements, NaN for a step without a density.
/// The header says
/// seed, epoch, sample, sampler and guidance_scale.
/// </summary>
/// <param name="Trajectory">The path.</param>
/// <param name="Timesteps">Timestep of each step [N], an index of the model's noise schedule.</param>
/// <param name="Dims">C, H, W of a latent.</param>
/// <param name="Sampler">The sampler's name and settings.</param>
/// <param name="GuidanceScale">Classifier-free guidance it was drawn with.</param>
public sealed record StoredTrajectory(Trajectory Trajectory, long[] Timesteps, long[] Dims, string Sampler, double GuidanceScale)
{
    /// <summary>The trajectory of a sample that a pipeline has drawn.</summary>
    public static StoredTrajectory Of(Trajectory trajectory, Pipeline pipeline) => new(
        trajectory, [.. pipeline.Table.Steps.Select(step => step.Timestep)],
            [pipeline.Latent.Channels, pipeline.Latent.Height, pipeline.Latent.Width], pipeline.SamplerName, pipeline.GuidanceScale);

    /// <summary>Writes the file, whole or not at all.</summary>
    /// <param name="path">Its place.</param>
    /// <exception cref="UserError">The disk is full, or another I/O fault.</exception>
    public void Write(string path)
    {
        var request = Trajectory.Request;
        var logProbs = Trajectory.LogProbs.SelectMany(BitConverter.GetBytes).ToArray();
        KeyValuePair<string, Tensor>[] tensors =
        [
            new("log_probs", new(ElementType.Double, [Trajectory.Steps], logProbs)),
            new("timesteps", Tensor.Of(Timesteps, Trajectory.Steps)),
            new("latents", Tensor.Of(Trajectory.Latents, [Trajectory.Steps + 1, .. Dims])),
        ];
        var metadata = new Dictionary<string, string>
        {
            ["seed"] = Text(request.Seed),
            ["epoch"] = Text(request.Epoch),
            ["sample"] = Text(request.Sample),
            ["sampler"] = Sampler,
            ["guidance_scale"] = GuidanceScale.ToString("R", CultureInfo.InvariantCulture),
        };
        AtomicFile.Write(path, stream => SafetensorsFile.Write(stream, tensors, metadata));

        static string Text(ulong number) => number.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="prompt">The candidate's prompt.</param>
    /// <exception cref="UserError">It is missing, damaged, or its parts do not fit together.</exception>
    public static StoredTrajectory Read(string path, string prompt)
    {
        if (!File.Exists(path)) throw new UserError(
            $"trajectory '{path}': there is no such file; was it moved away from beside its images?");
        var file = SafetensorsFile.Open(path);
        var (latents, timesteps, logProbs) = (Tensor("latents"), Tensor("timesteps"), Tensor("log_probs"));
        var steps = timesteps.Count;
        if (steps < 1 || timesteps.Dims.Length != 1 || logProbs.Type != ElementType.Double || logProbs.Dims is not [var n] || n != steps
            || latents.Dims is not [var m, _, _, _] || m != steps + 1)
            throw new UserError($"trajectory '{path}': expected latents [N+1,C,H,W], timesteps [N] and log_probs F64 [N], got {latents}, "
                + $"{timesteps}, {logProbs}");
        var bytes = logProbs.Bytes();
        var request = new SampleRequest(prompt, Number("seed"), (uint)Number("epoch"), (uint)Number("sample"));
        return new StoredTrajectory(
            new Trajectory(request, latents.ToFloats(), [.. Enumerable.Range(0, (int)steps).Select(i =>
                BitConverter.ToDouble(bytes, 8 * i))]), timesteps.ToInt64s(), latents.Dims[1..],
            file.Metadata.GetValueOrDefault("sampler", ""),
            double.TryParse(file.Metadata.GetValueOrDefault("guidance_scale"), NumberStyles.Float, CultureInfo.InvariantCulture,
                out var guidance) ? guidance : throw Missing("guidance_scale"));

        Tensor Tensor(string name) => file.Tensors.GetValueOrDefault(name)
            ?? throw new UserError($"trajectory '{path}': expected tensors latents, timesteps and log_probs; '{name}' is missing");

        ulong Number(string key) => ulong.TryParse(file.Metadata.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture,
            out var number) ? number : throw Missing(key);

        UserError Missing(string key) => new($"trajectory '{path}': expected a number {key} in the header");
    }
}
