using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using OrtRlhf.Learning.Losses;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Epochs;

namespace OrtRlhf.Tuning.Methods;

/// <summary>What methods have that learn from choices among candidates, of people or of a reward in their place.</summary>
public abstract record PreferenceOptions : GradientOptions
{
    private protected const string Choices = "Preferences";

    /// <summary>
    /// Store of people's choices to learn from, a folder or a server. By default none: the reward chooses among candidates drawn each
    /// epoch.
    /// </summary>
    [Category(Choices), Display(Prompt = "STORE")]
    public string? Preferences { get; init; }

    /// <summary>
    /// Factors on the weights of stored choices by what was judged (quality=1,taste=0.5) or by rater; 0 leaves them out. By default all
    /// count alike.
    /// </summary>
    [Category(Choices)]
    public IReadOnlyDictionary<string, double>? ExpertWeights { get; init; }

    /// <summary>What it trains on of a round.</summary>
    internal abstract IEnumerable<(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight)> Examples(PreferenceRound round);

    /// <summary>What a reward chooses among a round's candidates.</summary>
    internal virtual IReadOnlyList<RatedPair> Rate(TuningParts parts, RewardScores scores) =>
        SyntheticRater.Rate(parts.Reward, scores, ImagesPerPrompt, RaterRule.BestWorst, ExpertRule.Sum);

    internal abstract IPreferenceTrainer Trainer(TuningParts parts);

    internal override ITuningMethod Create(TuningParts parts) => new PreferenceMethod(parts, this);

    /// <inheritdoc/>
    public override double DefaultLearningRate(bool flow) => 0.007;

    /// <inheritdoc/>
    public override IEnumerable<string> Faults()
    {
        foreach (var fault in base.Faults()) yield return fault;
        if (Preferences is null && ImagesPerPrompt <= 1)
            yield return $"`PromptsPerEpoch`: expected at most half of the {Images} images, so that each prompt has candidates to choose "
                + $"among, got {PromptsPerEpoch}";
        if (ExpertWeights?.Values.All(w => w >= 0 && double.IsFinite(w)) == false)
            yield return $"`ExpertWeights`: expected weights of 0 and more, got {string.Join(",", ExpertWeights.Values)}";
    }
}

/// <summary>The same for methods that learn from pairs.</summary>
public abstract record PairOptions : PreferenceOptions
{
    /// <summary>
    /// Which choices a reward makes among a prompt's candidates in a person's place: best-worst, one a prompt, or top-bottom, half as many
    /// as candidates.
    /// </summary>
    [Category(Choices)]
    public RaterRule Rater { get; init; } = RaterRule.BestWorst;

    /// <summary>
    /// How the parts of that reward come to one opinion: sum, or vote, where each ranks the candidates and ranks are summed by weight.
    /// </summary>
    [Category(Choices)]
    public ExpertRule Experts { get; init; } = ExpertRule.Sum;

    internal override IReadOnlyList<RatedPair> Rate(TuningParts parts, RewardScores scores) =>
        SyntheticRater.Rate(parts.Reward, scores, ImagesPerPrompt, Rater, Experts);

    internal override IEnumerable<(RatedCandidate Preferred, RatedCandidate? Rejected, float Weight)> Examples(PreferenceRound round) =>
        round.Pairs.Select(p => (round.Candidates[p.Preferred], (RatedCandidate?)round.Candidates[p.Rejected], p.Weight));
}

/// <summary>What a method says that trains on pictures alone, which are noised anew.</summary>
internal interface IImageLoss
{
    /// <summary>Whether rows are pairs, which have the same timestep and noise.</summary>
    bool IsPaired => false;

    /// <summary>Whether it compares with the model without adapters.</summary>
    bool NeedsReference => false;

    /// <summary>The loss.</summary>
    TrainingLoss Loss(DenoisingErrors errors);
}
