using System.Globalization;
using System.Text;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>One part of a weighted sum.</summary>
/// <param name="Weight">A finite factor other than 0.</param>
/// <param name="Reward">What it weighs.</param>
public sealed record RewardTerm(double Weight, IReward Reward);

/// <summary>The scores of one batch.</summary>
/// <param name="Total">The weighted sum, one for each image.</param>
/// <param name="Parts">Unweighted scores by name, of the parts and of rewards only watched.</param>
public sealed record RewardScores(float[] Total, IReadOnlyDictionary<string, float[]> Parts);

/// <summary>
/// <c>R = sum_i w_i R_i</c>, with rewards beside it that are scored but have no weight ("watched"): they show what training
/// on R did to what R does not ask for. Disposing it disposes its parts.
/// </summary>
public sealed class WeightedReward : IReward
{
    private readonly IReward[] _parts;

    /// <summary>Makes the sum.</summary>
    /// <param name="terms">At least one; names differ.</param>
    /// <param name="watched">Rewards to score without a weight; those that are terms are left out.</param>
    /// <exception cref="ArgumentException">No term, a repeated name, or a weight that is 0 or not finite.</exception>
    public WeightedReward(IReadOnlyList<RewardTerm> terms, IReadOnlyList<IReward>? watched = null)
    {
        _parts = [.. terms.Select(term => term.Reward), .. watched ?? []];
        if (terms.Count == 0) throw new ArgumentException("A weighted reward needs at least one term.", nameof(terms));
        if (terms.Any(term => term.Weight == 0 || !double.IsFinite(term.Weight)))
        {
            throw new ArgumentException("Weights must be finite and not 0.", nameof(terms));
        }
        if (terms.DistinctBy(term => term.Reward.Name).Count() != terms.Count)
        {
            throw new ArgumentException("Each reward may appear once.", nameof(terms));
        }
        Terms = terms;
        Watched = [.. (watched ?? []).Where(reward => terms.All(term => term.Reward.Name != reward.Name)).DistinctBy(reward =>
            reward.Name)];
        Name = Write(terms);
    }

    /// <summary>The expression in its shortest form, "jpeg-compressibility+2*prompt-alignment"; parsing it gives the same sum.</summary>
    public string Name { get; }

    /// <summary>The parts that make the sum.</summary>
    public IReadOnlyList<RewardTerm> Terms { get; }

    /// <summary>The rewards scored beside it.</summary>
    public IReadOnlyList<IReward> Watched { get; }

    /// <inheritdoc/>
    public bool Fits(string prompt) => Terms.All(term => term.Reward.Fits(prompt));

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default) =>
        ScoreParts(inputs, cancellation).Total;

    /// <summary>The sum and every part, watched ones included.</summary>
    /// <param name="inputs">The images.</param>
    /// <param name="cancellation">Stops between images.</param>
    /// <exception cref="UserError">A score that is NaN or infinite, or a part that cannot score an input.</exception>
    public RewardScores ScoreParts(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var parts = new Dictionary<string, float[]>();
        var total = new double[inputs.Count];
        foreach (var (weight, reward) in Terms)
        {
            var scores = parts[reward.Name] = Checked(reward, inputs, cancellation);
            for (var i = 0; i < total.Length; i++) total[i] += weight * scores[i];
        }
        foreach (var reward in Watched) parts[reward.Name] = Checked(reward, inputs, cancellation);
        var overflow = Array.FindIndex(total, sum => !float.IsFinite((float)sum));
        if (overflow >= 0)
        {
            throw new UserError(string.Create(CultureInfo.InvariantCulture,
                $"reward '{Name}': sample {inputs[overflow].Index}: expected a finite sum, got {(float)total[overflow]}. Use smaller "
                    + $"weights; the last checkpoint is intact."));
        }
        return new RewardScores(Array.ConvertAll(total, sum => (float)sum), parts);
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_parts, part => part.Dispose());

    private static float[] Checked(IReward reward, IReadOnlyList<RewardInput> inputs, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        var scores = reward.Score(inputs, cancellation);
        if (scores.Length != inputs.Count)
        {
            throw new UserError($"reward '{reward.Name}': expected {inputs.Count} scores, one an image, got {scores.Length}.");
        }
        for (var i = 0; i < scores.Length; i++)
        {
            if (float.IsFinite(scores[i])) continue;
            throw new UserError(string.Create(CultureInfo.InvariantCulture,
                $"reward '{reward.Name}': sample {inputs[i].Index}, prompt \"{inputs[i].Prompt}\": expected a finite score, got "
                    + $"{scores[i]}. Correct the reward, or train on another; the last checkpoint is intact."));
        }
        return scores;
    }

    private static string Write(IReadOnlyList<RewardTerm> terms)
    {
        var text = new StringBuilder();
        var argument = false; // a minus behind an argument would be taken for a part of it
        foreach (var (weight, reward) in terms)
        {
            if (weight < 0) text.Append(argument ? " - " : "-");
            else if (text.Length > 0) text.Append('+');
            if (Math.Abs(weight) != 1) text.Append(CultureInfo.InvariantCulture, $"{Math.Abs(weight)}*");
            text.Append(reward.Name);
            argument = reward.Name.Contains(':', StringComparison.Ordinal);
        }
        return text.ToString();
    }
}
