using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Learning.Advantages;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>A picture that took part in a choice.</summary>
/// <param name="Prompt">Its prompt.</param>
/// <param name="Image">The picture.</param>
/// <param name="Trajectory">How it came about; null where that is not known.</param>
/// <param name="Score">How good it was found, against others of its prompt.</param>
internal sealed record RatedCandidate(string Prompt, RgbImage Image, Trajectory? Trajectory, float Score);

/// <summary>What a method trains on at once: a preferred picture and the one it was preferred to, or one picture alone.</summary>
/// <param name="Preferred">The picture.</param>
/// <param name="Rejected">The other; null for methods without pairs.</param>
/// <param name="Weight">How much it counts; of kto the label.</param>
/// <param name="Index">Its number in the round, which keys its noise.</param>
internal sealed record PreferenceExample(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight, int Index);

/// <summary>Pictures and what was preferred among them.</summary>
/// <param name="Candidates">The pictures.</param>
/// <param name="Pairs">The preferences.</param>
internal sealed record PreferenceRound(IReadOnlyList<RatedCandidate> Candidates, IReadOnlyList<RatedPair> Pairs)
{
    /// <summary>
    /// What a method makes of it: d3po, dpo and ipo pairs; kto each side of a pair with its label; sft the preferred ones; rwr all, weighted by
    /// <c>exp(A/temperature)</c> over its mean, with A the score in deviations from the mean of the prompt.
    /// </summary>
    public PreferenceExample[] Examples(TuningOptions options)
    {
        IEnumerable<(RatedCandidate, RatedCandidate?, float)> examples = options.Method switch
        {
            TuningMethod.Kto => Pairs.SelectMany(p => new (RatedCandidate, RatedCandidate?, float)[] { (Candidates[p.Preferred], null, 1), (Candidates[p.Rejected], null, -1) }),
            TuningMethod.Sft => Pairs.Select(p => (Candidates[p.Preferred], (RatedCandidate?)null, p.Weight)),
            TuningMethod.Rwr => Candidates.Zip(RewardWeights(options), (candidate, weight) => (candidate, (RatedCandidate?)null, weight)),
            _ => Pairs.Select(p => (Candidates[p.Preferred], (RatedCandidate?)Candidates[p.Rejected], p.Weight)),
        };
        return [.. examples.Select((e, i) => new PreferenceExample(e.Item1, e.Item2, e.Item3, i))];
    }

    private float[] RewardWeights(TuningOptions options)
    {
        var numbers = Candidates.Select(c => c.Prompt).Distinct().Select((prompt, i) => (prompt, i)).ToDictionary();
        var advantages = Advantage.PerGroup([.. Candidates.Select(c => c.Score)], [.. Candidates.Select(c => numbers[c.Prompt])], options.Reward, batchDeviation: false);
        Advantage.Clip(advantages, options.AdvantageClip);
        var weights = Array.ConvertAll(advantages, a => Math.Exp(a / options.Temperature));
        var mean = weights.Average();
        return Array.ConvertAll(weights, w => (float)(w / mean));
    }
}
