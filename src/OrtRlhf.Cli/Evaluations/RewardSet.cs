using OrtRlhf.Rewards;

namespace OrtRlhf.Cli.Evaluations;

/// <summary>Several weighted sums of rewards, whose parts are scored once.</summary>
/// <param name="Sums">The sums, by their shortest expressions.</param>
/// <param name="Parts">Every part once, with weight 1.</param>
internal sealed record RewardSet(IReadOnlyList<WeightedReward> Sums, WeightedReward Parts) : IDisposable
{
    /// <summary>Reads expressions.</summary>
    /// <param name="registry">The rewards there are.</param>
    /// <param name="expressions">Weighted sums; none for every reward that fits the prompts and needs no argument.</param>
    /// <param name="prompts">The prompts that will be drawn.</param>
    /// <exception cref="Graph.UserError">As <see cref="RewardRegistry.Parse"/>.</exception>
    public static RewardSet Parse(RewardRegistry registry, IReadOnlyList<string> expressions, IReadOnlyCollection<string> prompts)
    {
        if (expressions.Count == 0)
        {
            expressions = [.. registry.Entries.Where(entry => entry.IsWatched && Fits(entry)).Select(entry => entry.Name)];
        }
        var sums = new List<WeightedReward>();
        try
        {
            foreach (var expression in expressions)
            {
                var sum = registry.Parse(expression, prompts);
                if (sums.All(other => other.Name != sum.Name)) sums.Add(sum);
                else sum.Dispose();
            }
            var parts = sums.SelectMany(sum => sum.Terms).Select(term => term.Reward).DistinctBy(reward => reward.Name);
            return new(sums, new WeightedReward([.. parts.Select(reward => new RewardTerm(1, reward))]));
        }
        catch
        {
            sums.ForEach(sum => sum.Dispose());
            throw;
        }

        bool Fits(RewardEntry entry)
        {
            using var reward = entry.Create(new(entry.Name));
            return prompts.All(reward.Fits);
        }
    }

    /// <summary>A sum of every image, from its parts.</summary>
    public static float[] Total(WeightedReward sum, IReadOnlyDictionary<string, float[]> parts)
    {
        var total = new double[parts[sum.Terms[0].Reward.Name].Length];
        foreach (var (weight, reward) in sum.Terms)
            for (var i = 0; i < total.Length; i++) total[i] += weight * parts[reward.Name][i];
        return Array.ConvertAll(total, value => (float)value);
    }

    /// <summary>Disposes the sums, whose parts <see cref="Parts"/> are.</summary>
    public void Dispose()
    {
        foreach (var sum in Sums) sum.Dispose();
    }
}
