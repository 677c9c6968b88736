using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Advantages;

/// <summary>
/// Advantages from rewards: <c>A = (r - mean)/(std + 1e-6)</c>, with the mean and the (population) standard deviation of the batch
/// or of the sample's group. Where all rewards are equal there is no signal: A = 0.
/// </summary>
public static class Advantage
{
    internal const double Epsilon = 1e-6;

    /// <summary>Normalises by the statistics of the whole batch.</summary>
    /// <param name="rewards">One reward a sample, finite.</param>
    /// <param name="rewardName">The reward's name, for messages.</param>
    /// <returns>One advantage a sample, in standard deviations.</returns>
    /// <exception cref="UserError">A reward is NaN or infinite.</exception>
    public static float[] PerBatch(ReadOnlySpan<float> rewards, string rewardName)
    {
        RequireFinite(rewards, rewardName);
        var spread = Spread.Of(rewards);
        var advantages = new float[rewards.Length];
        for (var i = 0; i < rewards.Length; i++)
            advantages[i] = spread.Normalise(rewards[i]);
        return advantages;
    }

    /// <summary>
    /// Normalises within groups, the samples of one prompt (GRPO): only the comparison with siblings counts. A group of one
    /// carries no signal.
    /// </summary>
    /// <param name="rewards">One reward a sample, finite.</param>
    /// <param name="groups">The group of each sample, any numbers.</param>
    /// <param name="rewardName">The reward's name, for messages.</param>
    /// <param name="batchDeviation">Divide by the batch's standard deviation in place of the group's (Flow-GRPO's global std).</param>
    /// <returns>One advantage a sample, in standard deviations.</returns>
    /// <exception cref="UserError">A reward is NaN or infinite.</exception>
    /// <exception cref="ArgumentException">Spans of different lengths.</exception>
    public static float[] PerGroup(
        ReadOnlySpan<float> rewards, ReadOnlySpan<int> groups, string rewardName, bool batchDeviation = false)
    {
        RequireFinite(rewards, rewardName);
        if (groups.Length != rewards.Length)
            throw new ArgumentException($"expected one group a sample, got {groups.Length} for {rewards.Length}");
        var batch = Spread.Of(rewards);
        var advantages = new float[rewards.Length];
        var members = new Dictionary<int, List<int>>();
        for (var i = 0; i < groups.Length; i++)
            (members.TryGetValue(groups[i], out var list) ? list : members[groups[i]] = []).Add(i);
        foreach (var indices in members.Values)
        {
            var group = new float[indices.Count];
            for (var j = 0; j < group.Length; j++)
                group[j] = rewards[indices[j]];
            var spread = Spread.Of(group);
            if (batchDeviation && spread.Deviation > 0)
                spread = spread with { Deviation = batch.Deviation };
            foreach (var i in indices)
                advantages[i] = spread.Normalise(rewards[i]);
        }
        return advantages;
    }

    /// <summary>Limits advantages to [-limit, limit], in place (DDPO: 5).</summary>
    public static void Clip(Span<float> advantages, double limit)
    {
        foreach (ref var a in advantages)
            a = Math.Clamp(a, (float)-limit, (float)limit);
    }

    internal static void RequireFinite(ReadOnlySpan<float> rewards, string rewardName)
    {
        for (var i = 0; i < rewards.Length; i++)
            if (!float.IsFinite(rewards[i]))
                throw new UserError(
                    $"reward {rewardName}: sample {i}: expected a finite number, got {rewards[i]}; correct the reward, or take it "
                        + $"out of the sum");
    }

    /// <summary>Mean and standard deviation; the deviation is exactly 0 where all numbers are equal.</summary>
    internal readonly record struct Spread(double Mean, double Deviation)
    {
        public static Spread Of(ReadOnlySpan<float> values)
        {
            if (values.IsEmpty)
                return default;
            if (!values.ContainsAnyExcept(values[0]))
                return new(values[0], 0);
            var (sum, squares) = (0.0, 0.0);
            foreach (var value in values)
                sum += value;
            var mean = sum / values.Length;
            foreach (var value in values)
                squares += (value - mean) * (value - mean);
            return new(mean, Math.Sqrt(squares / values.Length));
        }

        public float Normalise(float reward) => Deviation == 0 ? 0 : (float)((reward - Mean) / (Deviation + Epsilon));
    }
}
