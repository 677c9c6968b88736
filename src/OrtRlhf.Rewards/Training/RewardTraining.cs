using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Preferences;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Preferences;

namespace OrtRlhf.Rewards.Training;

/// <summary>Images with their prompts, and preferences among them.</summary>
/// <param name="Candidates">The images.</param>
/// <param name="Pairs">The preferences, by numbers of candidates.</param>
public sealed record JudgedImages(IReadOnlyList<RewardInput> Candidates, IReadOnlyList<RatedPair> Pairs)
{
    /// <summary>What raters chose, with its images.</summary>
    /// <param name="selection">The choices.</param>
    /// <param name="cancellation">Stops.</param>
    /// <exception cref="UserError">An image is missing or damaged.</exception>
    public static JudgedImages Of(PreferenceSelection selection, CancellationToken cancellation = default)
    {
        var folder = new PreferenceFolder(selection.Root);
        var numbers = selection.Candidates.Select((candidate, i) => (candidate.Id, i)).ToDictionary(c => c.Id, c =>
            c.i, StringComparer.Ordinal);
        return new(
            [.. selection.Candidates.Select((candidate, i) =>
            {
                cancellation.ThrowIfCancellationRequested();
                return new RewardInput(folder.Image(candidate), candidate.Prompt, i);
            })],
            [.. selection.Pairs.Select(p => new RatedPair(numbers[p.Winner], numbers[p.Loser], (float)p.Weight))]);
    }
}

/// <summary>How a reward model is fitted.</summary>
public sealed record RewardTrainingOptions
{
    /// <summary>Folder of the CLIPModel whose features it sees.</summary>
    public required string Clip { get; init; }

    /// <summary>Share of the prompts whose choices are held out, above 0 to below 1; default 0.2.</summary>
    public double HeldOut { get; init; } = 0.2;

    /// <summary>The ridge; null, the default, chooses it by five-fold cross-validation on the choices that are not held out.</summary>
    public double? Ridge { get; init; }

    /// <summary>Rank of adapters on CLIP's image tower; 0, the default, for none.</summary>
    public int LoraRank { get; init; }

    /// <summary>With adapters: epochs of training, of which the best is kept. Default 4.</summary>
    public int Epochs { get; init; } = 4;

    /// <summary>With adapters: peak learning rate. Default 5e-4.</summary>
    public double LearningRate { get; init; } = 5e-4;

    /// <summary>Seed of what is held out. Default 0.</summary>
    public ulong Seed { get; init; }

    /// <summary>Device and threads.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>All faults, in the words of the command line; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (!(HeldOut is > 0 and < 1)) yield return FormattableString.Invariant(
            $"`HeldOut`: expected a number above 0 and below 1, got {HeldOut}");
        if (Ridge is { } ridge && !(ridge > 0
            && double.IsFinite(ridge))) yield return FormattableString.Invariant($"`Ridge`: expected a number > 0, got {ridge}");
        if (LoraRank is < 0 or > 1024) yield return $"`LoraRank`: expected 0 to 1024, got {LoraRank}";
        if (Epochs is < 1 or > 1000) yield return $"`Epochs`: expected 1 to 1000, got {Epochs}";
        if (!(LearningRate > 0 && double.IsFinite(LearningRate))) yield return FormattableString.Invariant(
            $"`LearningRate`: expected a number > 0, got {LearningRate}");
    }
}

/// <summary>A fitted reward model in numbers; what reward.json beside it holds.</summary>
/// <param name="Trained">Choices it was fitted to.</param>
/// <param name="Ridge">The ridge.</param>
/// <param name="Temperature">What the scores were divided by, so that probabilities of choices left out came true as often as they said; 1
/// where they did already.</param>
/// <param name="Epoch">The epoch that the adapters are of; 0 for none, because none were asked for or choices left out were no likelier
/// with them.</param>
/// <param name="Accuracy">Share of the held-out choices that it predicts, ties half.</param>
/// <param name="TrainedAccuracy">The same of those it was fitted to.</param>
/// <param name="Calibration">Of its probabilities of the held-out choices.</param>
public sealed record RewardModelSummary(int Trained, double Ridge, double Temperature, int Epoch, MeanEstimate Accuracy,
    MeanEstimate TrainedAccuracy, Calibration Calibration);

/// <summary>
/// A reward model from preferences: a linear Bradley-Terry head on the features of a CLIP, which stays as it is or gets adapters. Its score
/// is a logit: of two images the one
/// that scores x more is preferred with the probability sigmoid(x), and as often in choices that it was not fitted to.
/// </summary>
public static class RewardTraining
{
    private const int Folds = 5;

    /// <summary>Fits a model and writes it into a folder: <c>onnx:FOLDER</c> is then a reward, reward.json says how good it is.</summary>
    /// <param name="judged">Images and preferences; those of a prompt are held out together.</param>
    /// <param name="options">How.</param>
    /// <param name="output">The folder; made if need be.</param>
    /// <param name="progress">Told the number of images that were looked at, of all that <see cref="Work"/> says.</param>
    /// <param name="cancellation">Stops between batches.</param>
    /// <exception cref="UserError">Too few choices or prompts, a fault of the CLIP, or a place that cannot be written.</exception>
    public static RewardModelSummary Run(JudgedImages judged, RewardTrainingOptions options, string output, Action<int>? progress = null,
        CancellationToken cancellation = default)
    {
        var (training, heldOut) = Split(judged, options);
        var clip = new ClipFeatures(options.Clip, withText: judged.Candidates.Any(c => c.Prompt.Length > 0));
        var features = clip.Of(judged.Candidates, options.Session, progress, cancellation);
        var (head, epoch) = Fit();

        DiskFault.Guard(output, () => Directory.CreateDirectory(output));
        clip.Write(output, head);
        var scores = Array.ConvertAll(features, head.Score);
        var summary = new RewardModelSummary(
            training.Length, head.Ridge, head.Temperature, epoch, Accuracy(heldOut, scores), Accuracy(training, scores),
                Calibration.Of(Array.ConvertAll(heldOut, p => Probability(p, scores))));
        JsonFile.Write(Path.Combine(output, "reward.json"), summary);
        return summary;

        (RewardHead Head, int Epoch) Fit()
        {
            if (options.LoraRank > 0)
            {
                // The last of the training prompts choose among the epochs, and the temperature; neither head nor adapters have seen them.
                var (fitted, leftOut) = (training[..^(training.Length / Folds)], training[^(training.Length / Folds)..]);
                var first = RewardHead.Fit(fitted, features, clip.Blocks, options.Ridge);
                var (best, temperature) = ClipAdapters.Train(clip, first, judged.Candidates, fitted, leftOut, options, done =>
                    progress?.Invoke(features.Length + done), cancellation);
                if (best > 0)
                {
                    features = clip.Of(judged.Candidates, options.Session, cancellation: cancellation);
                    return (first.Cooled(temperature), best);
                }
            }
            return (RewardHead.Fit(training, features, clip.Blocks, options.Ridge), 0);
        }
    }

    /// <summary>How many images training looks at, those of a choice in each epoch anew.</summary>
    public static int Work(JudgedImages judged, RewardTrainingOptions options) =>
        judged.Candidates.Count
            + (options.LoraRank > 0 ? (int)(2 * judged.Pairs.Count * (1 - options.HeldOut) * (options.Epochs + (1.0 / Folds))) : 0);

    // Whole prompts are held out, so that none is known from another choice.
    private static (RatedPair[] Training, RatedPair[] HeldOut) Split(JudgedImages judged, RewardTrainingOptions options)
    {
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UserError(string.Join("; ", faults));
        var groups = judged.Pairs.GroupBy(p => judged.Candidates[p.Preferred].Prompt, StringComparer.Ordinal).Select(g => g.ToArray())
            .ToArray();
        // With fewer prompts than that a choice is its own group: better known prompts than nothing to judge by.
        if (groups.Length < 2 * Folds) groups = [.. judged.Pairs.Select(p => new[] { p })];
        new Philox(options.Seed, 0, 0, RandomStep.Shuffle).Shuffle<RatedPair[]>(groups);
        var aside = Math.Max(1, (int)Math.Round(options.HeldOut * groups.Length));
        if (groups.Length - aside < Folds) throw new UserError(
            $"reward train: expected at least {2 * Folds} choices, got {judged.Pairs.Count}; choose more, some hundreds are a beginning");
        return ([.. groups.Skip(aside).SelectMany(g => g)], [.. groups.Take(aside).SelectMany(g => g)]);
    }

    private static double Probability(RatedPair pair, double[] scores) =>
        BradleyTerry.Probability(scores[pair.Preferred] - scores[pair.Rejected]);

    private static MeanEstimate Accuracy(RatedPair[] pairs, double[] scores) =>
        MeanEstimate.Of([.. pairs.Select(p =>
            scores[p.Preferred] > scores[p.Rejected] ? 1 : scores[p.Preferred] < scores[p.Rejected] ? 0 : 0.5f)]);
}
