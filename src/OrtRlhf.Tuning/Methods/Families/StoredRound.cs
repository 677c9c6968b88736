using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>People's choices as the round that every epoch trains on.</summary>
internal static class StoredRound
{
    /// <summary>
    /// Loads the pictures and, for methods on steps, the trajectories. A candidate's score is the share of its comparisons that it won.
    /// </summary>
    /// <param name="selection">What was chosen.</param>
    /// <param name="parts">The run, whose reward scores the pictures beside it.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="UserError">A file is missing, or a trajectory is of another model or sampler.</exception>
    public static (PreferenceRound Round, Collected Scores) Load(PreferenceSelection selection, TuningParts parts,
        CancellationToken cancellation)
    {
        var folder = new PreferenceFolder(selection.Root);
        var numbers = selection.Candidates.Select((candidate, i) => (candidate.Id, i)).ToDictionary(c => c.Id, c =>
            c.i, StringComparer.Ordinal);
        var pairs = selection.Pairs.Select(p => new RatedPair(numbers[p.Winner], numbers[p.Loser], (float)p.Weight)).ToArray();
        var (won, compared) = (new float[numbers.Count], new float[numbers.Count]);
        foreach (var (winner, loser, weight) in pairs)
        {
            won[winner] += weight;
            compared[winner] += weight;
            compared[loser] += weight;
        }
        var candidates = selection.Candidates.Select((candidate, i) =>
        {
            cancellation.ThrowIfCancellationRequested();
            var trajectory = parts.Options.TrainsOnSteps ? Trajectory(folder, candidate, parts.Pipeline) : null;
            return new RatedCandidate(candidate.Prompt, folder.Image(candidate), trajectory, won[i] / compared[i]);
        }).ToArray();
        var inputs = candidates.Select((c, i) => new RewardInput(c.Image, c.Prompt, i)).ToArray();
        return (new(candidates, pairs), new Collected([], parts.Reward.ScoreParts(inputs, cancellation)));
    }

    private static Trajectory Trajectory(PreferenceFolder folder, Candidate candidate, Pipeline pipeline)
    {
        var stored = folder.Trajectory(candidate)
            ?? throw new UserError($"candidate '{candidate.Id}' ({candidate.Image}): has no trajectory, which d3po trains on: it came as "
                + $"a picture, or from a sampler whose steps have no density (of flows label with `Sampler` flow-grpo). Use `Method` "
                + $"dpo, which needs images alone");
        // The table is deterministic, so equal times of one sampler are equal steps.
        var same = stored.Sampler == pipeline.SamplerName && stored.GuidanceScale == pipeline.GuidanceScale
            && stored.Trajectory.LatentLength == pipeline.Latent.Count;
        return same ? stored.Trajectory with { Table = pipeline.Table }
            : throw new UserError(string.Create(System.Globalization.CultureInfo.InvariantCulture,
            $"candidate '{candidate.Id}': was drawn by {stored.Sampler} with guidance {stored.GuidanceScale} and latents of "
                + $"{stored.Trajectory.LatentLength} numbers; expected {pipeline.SamplerName}, {pipeline.GuidanceScale} and "
                + $"{pipeline.Latent.Count}. Give the model, `Sampler`, `Steps`, `Eta` and `GuidanceScale` that it was drawn with."));
    }
}
