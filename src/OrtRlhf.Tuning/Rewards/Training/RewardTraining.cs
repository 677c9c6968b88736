using OrtRlhf.Graph;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Algorithms;
using OrtRlhf.Tuning.Preferences;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Rewards.Training;

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
        var numbers = selection.Candidates.Select((candidate, i) => (candidate.Id, i)).ToDictionary(c => c.Id, c => c.i, StringComparer.Ordinal);
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

    /// <summary>Seed of what is held out. Default 0.</summary>
    public ulong Seed { get; init; }

    /// <summary>Device and threads.</summary>
    public SessionSettings Session { get; init; } = new();

    /// <summary>All faults, in the words of the command line; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (!(HeldOut is > 0 and < 1)) yield return FormattableString.Invariant($"--held-out: expected a number above 0 and below 1, got {HeldOut}");
        if (Ridge is { } ridge && !(ridge > 0 && double.IsFinite(ridge))) yield return FormattableString.Invariant($"--ridge: expected a number > 0, got {ridge}");
    }
}

/// <summary>A fitted reward model in numbers; what reward.json beside it holds.</summary>
/// <param name="Trained">Choices it was fitted to.</param>
/// <param name="Ridge">The ridge.</param>
/// <param name="Accuracy">Share of the held-out choices that it predicts, ties half.</param>
/// <param name="TrainedAccuracy">The same of those it was fitted to.</param>
/// <param name="Calibration">Of its probabilities of the held-out choices.</param>
public sealed record RewardModelSummary(int Trained, double Ridge, MeanEstimate Accuracy, MeanEstimate TrainedAccuracy, Calibration Calibration);

/// <summary>
/// A reward model from preferences: a linear Bradley-Terry head on the features of a CLIP, which stays as it is. Its score is a logit: of two images the one
/// that scores x more is preferred with the probability sigmoid(x).
/// </summary>
public static class RewardTraining
{
    private const int Folds = 5;
    private static readonly double[] Ridges = [1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3];

    /// <summary>Fits a model and writes it into a folder: <c>onnx:FOLDER</c> is then a reward, reward.json says how good it is.</summary>
    /// <param name="judged">Images and preferences; those of a prompt are held out together.</param>
    /// <param name="options">How.</param>
    /// <param name="output">The folder; made if need be.</param>
    /// <param name="progress">Told the number of images whose features are known.</param>
    /// <param name="cancellation">Stops between batches.</param>
    /// <exception cref="UserError">Too few choices or prompts, a fault of the CLIP, or a place that cannot be written.</exception>
    public static RewardModelSummary Run(JudgedImages judged, RewardTrainingOptions options, string output, Action<int>? progress = null, CancellationToken cancellation = default)
    {
        var (training, heldOut) = Split(judged, options);
        var clip = new ClipFeatures(options.Clip, withText: judged.Candidates.Any(c => c.Prompt.Length > 0));
        var features = clip.Of(judged.Candidates, options.Session, progress, cancellation);
        var scale = Standardize(features);
        var ridge = options.Ridge ?? Ridges.MaxBy(r => CrossValidated(training, features, r));
        var w = Fit(training, features, ridge);

        DiskFault.Guard(output, () => Directory.CreateDirectory(output));
        var raw = w.Zip(scale, (x, s) => x / s.Deviation).ToArray();
        clip.Write(output, raw, -raw.Zip(scale, (x, s) => x * s.Mean).Sum());
        var summary = new RewardModelSummary(training.Length, ridge, Accuracy(heldOut, features, w), Accuracy(training, features, w), Calibration.Of(Probabilities(heldOut, features, w)));
        JsonFile.Write(Path.Combine(output, "reward.json"), summary);
        return summary;
    }

    // Whole prompts are held out, so that none is known from another choice.
    private static (RatedPair[] Training, RatedPair[] HeldOut) Split(JudgedImages judged, RewardTrainingOptions options)
    {
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UserError(string.Join("; ", faults));
        var groups = judged.Pairs.GroupBy(p => judged.Candidates[p.Preferred].Prompt, StringComparer.Ordinal).Select(g => g.ToArray()).ToArray();
        // With fewer prompts than that a choice is its own group: better known prompts than nothing to judge by.
        if (groups.Length < 2 * Folds) groups = [.. judged.Pairs.Select(p => new[] { p })];
        new Philox(options.Seed, 0, 0, RandomStep.Shuffle).Shuffle<RatedPair[]>(groups);
        var aside = Math.Max(1, (int)Math.Round(options.HeldOut * groups.Length));
        if (groups.Length - aside < Folds) throw new UserError($"reward train: expected at least {2 * Folds} choices, got {judged.Pairs.Count}; choose more, some hundreds are a beginning");
        return ([.. groups.Skip(aside).SelectMany(g => g)], [.. groups.Take(aside).SelectMany(g => g)]);
    }

    private static (double Mean, double Deviation)[] Standardize(double[][] features)
    {
        var scale = new (double Mean, double Deviation)[features[0].Length];
        for (var j = 0; j < scale.Length; j++)
        {
            var mean = features.Average(f => f[j]);
            var deviation = Math.Sqrt(features.Average(f => (f[j] - mean) * (f[j] - mean)));
            scale[j] = (mean, deviation > 1e-9 ? deviation : 1);
            foreach (var f in features) f[j] = (f[j] - mean) / scale[j].Deviation;
        }
        return scale;
    }

    // Mean log-likelihood of each fold under what is fitted to the others.
    private static double CrossValidated(RatedPair[] pairs, double[][] features, double ridge)
    {
        var sum = 0.0;
        for (var fold = 0; fold < Folds; fold++)
        {
            var (first, last) = (pairs.Length * fold / Folds, pairs.Length * (fold + 1) / Folds);
            var w = Fit([.. pairs[..first], .. pairs[last..]], features, ridge);
            sum += Probabilities(pairs[first..last], features, w).Sum(p => Math.Log(Math.Max(p, 1e-12)));
        }
        return sum;
    }

    private static double[] Fit(RatedPair[] pairs, double[][] features, double ridge) => BradleyTerry.Fit(
        [.. pairs.Select(p => features[p.Preferred].Zip(features[p.Rejected], (a, b) => a - b).ToArray())], [.. pairs.Select(p => (double)p.Weight)], ridge);

    private static double[] Probabilities(RatedPair[] pairs, double[][] features, double[] w) =>
        Array.ConvertAll(pairs, p => BradleyTerry.Probability(w.Zip(features[p.Preferred].Zip(features[p.Rejected]), (x, f) => x * (f.First - f.Second)).Sum()));

    private static MeanEstimate Accuracy(RatedPair[] pairs, double[][] features, double[] w) =>
        MeanEstimate.Of([.. Probabilities(pairs, features, w).Select(p => p > 0.5 ? 1 : p < 0.5 ? 0 : 0.5f)]);
}
