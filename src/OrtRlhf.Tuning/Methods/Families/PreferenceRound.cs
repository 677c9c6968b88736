using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Rewards;

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
internal sealed record PreferenceRound(IReadOnlyList<RatedCandidate> Candidates, IReadOnlyList<RatedPair> Pairs);
