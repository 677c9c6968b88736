
namespace OrtRlhf.Rewards;

/// <summary>Which pairs a rater makes of a prompt's candidates.</summary>
public enum RaterRule
{
    /// <summary>One: the best against the worst.</summary>
    BestWorst,

    /// <summary>The best against the worst, the second best against the second worst, and so on: half as many as candidates.</summary>
    TopBottom,
}

/// <summary>How the parts of a reward, each an expert with a weight, come to one opinion.</summary>
public enum ExpertRule
{
    /// <summary>By their weighted sum: an expert whose scores are spread wider has more to say.</summary>
    Sum,

    /// <summary>
    /// Each ranks a prompt's candidates, and ranks are summed by weight (Borda's count): scales do not matter, and a pair counts by how far
    /// the experts agree.
    /// </summary>
    Vote,
}

/// <summary>A preference between two candidates, by their numbers.</summary>
/// <param name="Preferred">The better one.</param>
/// <param name="Rejected">The other.</param>
/// <param name="Weight">How much it counts, above 0; 1 for a plain preference.</param>
public readonly record struct RatedPair(int Preferred, int Rejected, float Weight = 1);

/// <summary>
/// Makes preferences of scores, as people would of what they see. Candidates of one score are a tie, which is no preference.
/// </summary>
public static class SyntheticRater
{
    /// <summary>Rates candidates.</summary>
    /// <param name="scores">One a candidate; those of a prompt behind each other.</param>
    /// <param name="each">Candidates of a prompt, a divisor of their number.</param>
    /// <param name="rule">Which pairs.</param>
    public static IReadOnlyList<RatedPair> Rate(IReadOnlyList<float> scores, int each, RaterRule rule)
    {
        var pairs = new List<RatedPair>();
        for (var first = 0; first < scores.Count; first += each)
        {
            // Stable: of equal scores the earlier candidate is ranked first.
            var ranked = Enumerable.Range(first, each).OrderByDescending(i => scores[i]).ToArray();
            for (var k = 0; k < (rule == RaterRule.BestWorst ? 1 : each / 2); k++)
            {
                var (best, worst) = (ranked[k], ranked[^(k + 1)]);
                if (scores[best] > scores[worst]) pairs.Add(new(best, worst));
            }
        }
        return pairs;
    }

    /// <summary>Rates candidates by what several experts say.</summary>
    /// <param name="reward">The experts and their weights; negative for those whose low scores are good.</param>
    /// <param name="scores">Their scores.</param>
    /// <param name="each">Candidates of a prompt.</param>
    /// <param name="rule">Which pairs.</param>
    /// <param name="experts">How they agree.</param>
    public static IReadOnlyList<RatedPair> Rate(WeightedReward reward, RewardScores scores, int each, RaterRule rule, ExpertRule experts)
    {
        if (experts == ExpertRule.Sum) return Rate(scores.Total, each, rule);
        var votes = Votes(reward, scores, each);
        return [.. Rate(votes, each, rule).Select(pair => pair with { Weight = votes[pair.Preferred] - votes[pair.Rejected] })];
    }

    /// <summary>
    /// Borda's count of each candidate among its prompt's, <c>sum_i w_i (below_i + ties_i/2)/(n-1) / sum_i |w_i|</c>: 1 apart when all
    /// experts agree.
    /// </summary>
    internal static float[] Votes(WeightedReward reward, RewardScores scores, int each)
    {
        var (total, votes) = (reward.Terms.Sum(term => Math.Abs(term.Weight)), new float[scores.Total.Length]);
        for (var i = 0; i < votes.Length; i++)
        {
            var sum = 0.0;
            foreach (var (weight, expert) in reward.Terms)
            {
                var (all, first) = (scores.Parts[expert.Name], i / each * each);
                var rank = 0.0;
                for (var j = first; j < first + each; j++)
                    if (j != i) rank += all[i] > all[j] ? 1 : all[i] == all[j] ? 0.5 : 0;
                sum += weight * rank / (each - 1);
            }
            votes[i] = (float)(sum / total);
        }
        return votes;
    }
}
