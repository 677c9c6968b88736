namespace OrtRlhf.Learning.Preferences;

/// <summary>One bin of a reliability diagram.</summary>
/// <param name="From">Its lowest confidence.</param>
/// <param name="To">Its highest.</param>
/// <param name="Confidence">Mean confidence of the predictions in it; 0 where there are none.</param>
/// <param name="Accuracy">Share of them that came true.</param>
/// <param name="N">How many.</param>
public sealed record CalibrationBin(double From, double To, double Confidence, double Accuracy, int N);

/// <summary>
/// Whether probabilities of preferences mean what they say (Guo et al. 2017): each prediction is for the side that it finds more probable,
/// with a confidence of 0.5 to 1;
/// of those in a bin as many should come true as they are confident. <c>ECE = sum_bins n/N |accuracy - confidence|</c>.
/// </summary>
/// <param name="Error">The expected calibration error, 0 (perfect) to 0.5 or more.</param>
/// <param name="Bins">Bins of equal width.</param>
public sealed record Calibration(double Error, IReadOnlyList<CalibrationBin> Bins)
{
    /// <summary>Of the probabilities that a model gave to what was preferred indeed.</summary>
    /// <param name="probabilities">Probability of each preference, 0 to 1; at least one.</param>
    /// <param name="bins">Bins over the confidences 0.5 to 1.</param>
    public static Calibration Of(IReadOnlyList<double> probabilities, int bins = 5)
    {
        var groups = probabilities.Select(p => (Confidence: Math.Max(p, 1 - p), Right: p > 0.5 ? 1.0 : p < 0.5 ? 0 : 0.5))
            .ToLookup(p => Math.Min(bins - 1, (int)((p.Confidence - 0.5) * 2 * bins)));
        CalibrationBin[] filled = [.. Enumerable.Range(0, bins).Select(i =>
        {
            var (from, to, group) = (0.5 + (i * 0.5 / bins), 0.5 + ((i + 1) * 0.5 / bins), groups[i].ToArray());
            return group.Length == 0 ? new CalibrationBin(from, to, 0, 0, 0)
                : new(from, to, group.Average(p => p.Confidence), group.Average(p => p.Right), group.Length);
        })];
        return new(filled.Sum(bin => (double)bin.N / probabilities.Count * Math.Abs(bin.Accuracy - bin.Confidence)), filled);
    }
}
