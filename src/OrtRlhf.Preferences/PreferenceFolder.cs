using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences;

/// <summary>The folder of a store: <c>preferences.db</c> (unless a server has the tables), <c>images/</c>, <c>trajectories/</c>.</summary>
/// <param name="Root">The folder itself.</param>
public sealed record PreferenceFolder(string Root)
{
    /// <summary>The SQLite database.</summary>
    public string Database => Path.Combine(Root, "preferences.db");

    /// <summary>Images, PNG or as they were brought.</summary>
    public string Images => Path.Combine(Root, "images");

    /// <summary>Paths from noise to image, safetensors.</summary>
    public string Trajectories => Path.Combine(Root, "trajectories");

    /// <summary>Whether a path is relative, with forward slashes, and stays inside the folder.</summary>
    /// <param name="relative">The path.</param>
    public static bool IsInside(string? relative) =>
        relative is { Length: >= 1 and <= 500 } && !relative.Any(c => char.IsControl(c) || c is '\\' or ':')
            && relative.Split('/').All(part => part is not ("" or "." or "..")) && !Path.IsPathRooted(relative);

    /// <summary>The full path of a file in the folder.</summary>
    /// <param name="relative">As <see cref="Candidate.Image"/>.</param>
    /// <exception cref="UserError">It would lie outside, by itself or by a link on the way.</exception>
    public string At(string relative)
    {
        if (!IsInside(relative)) throw new UserError($"preferences '{Root}': '{relative}': expected a relative path inside the folder");
        var path = Path.GetFullPath(Path.Combine(Root, relative));
        for (var part = path; part.Length > Path.GetFullPath(Root)
            .TrimEnd(Path.DirectorySeparatorChar).Length; part = Path.GetDirectoryName(part)!)
        {
            if (new FileInfo(part).LinkTarget is not null) throw new UserError(
                $"preferences '{Root}': '{relative}': expected a file in the folder, got a link");
        }
        return path;
    }

    /// <summary>The image of a candidate.</summary>
    /// <exception cref="UserError">The file is missing or no image.</exception>
    public RgbImage Image(Candidate candidate)
    {
        var path = At(candidate.Image);
        return ImageCodec.Decode(DiskFault.Guard(path, () => File.ReadAllBytes(path)), path);
    }

    /// <summary>The trajectory of a candidate; null when it has none.</summary>
    /// <exception cref="UserError">The file is missing or damaged.</exception>
    public StoredTrajectory? Trajectory(Candidate candidate) =>
        candidate.Trajectory is null ? null : StoredTrajectory.Read(At(candidate.Trajectory), candidate.Prompt);

    /// <summary>Writes an image as PNG, whole or not at all.</summary>
    /// <returns>The candidate, to be added to the store.</returns>
    /// <param name="image">The image.</param>
    /// <param name="prompt">Its prompt.</param>
    /// <param name="seed">Its seed, if known.</param>
    /// <param name="source">What drew it.</param>
    /// <exception cref="UserError">The disk is full, or another I/O fault.</exception>
    public Candidate Write(RgbImage image, string prompt, long? seed = null, string? source = null)
    {
        var id = Candidate.NewId();
        var candidate = new Candidate(id, prompt, $"images/{id}.png", seed, null, source);
        AtomicFile.Write(At(candidate.Image), ImageCodec.EncodePng(image));
        return candidate;
    }

    /// <summary>Writes a sample: its image as PNG, and the way it came about.</summary>
    /// <returns>The candidate, to be added to the store.</returns>
    /// <param name="sample">The sample.</param>
    /// <param name="pipeline">What drew it; its sampler must have steps with a density for the trajectory to be written.</param>
    /// <param name="source">The model and adapter, in words.</param>
    /// <exception cref="UserError">The disk is full, or another I/O fault.</exception>
    public Candidate Write(SampledImage sample, Pipeline pipeline, string? source = null)
    {
        var candidate = Write(sample.Image, sample.Prompt, unchecked((long)sample.Trajectory.Request.Seed), source);
        if (pipeline.Steps.Table is not { StepsWithDensity.Count: > 0 }) return candidate;
        candidate = candidate with { Trajectory = $"trajectories/{candidate.Id}.safetensors" };
        StoredTrajectory.Of(sample.Trajectory, pipeline).Write(At(candidate.Trajectory));
        return candidate;
    }
}
