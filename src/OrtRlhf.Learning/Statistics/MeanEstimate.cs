namespace OrtRlhf.Learning.Statistics;

/// <summary>A mean with its standard error.</summary>
/// <param name="Mean">Mean of n scores.</param>
/// <param name="Stderr">Standard error of the mean, <c>s / sqrt(n)</c> with the unbiased s; 0 for one score.</param>
/// <param name="N">Number of scores.</param>
public sealed record MeanEstimate(double Mean, double Stderr, int N)
{
    /// <summary>The estimate from some scores, summed in double in their order.</summary>
    /// <param name="scores">At least one.</param>
    /// <exception cref="ArgumentException">No scores.</exception>
    public static MeanEstimate Of(ReadOnlySpan<float> scores)
    {
        if (scores.IsEmpty) throw new ArgumentException("A mean needs at least one score.", nameof(scores));
        var (sum, squares) = (0.0, 0.0);
        foreach (var score in scores) sum += score;
        var mean = sum / scores.Length;
        foreach (var score in scores) squares += (score - mean) * (score - mean);
        var stderr = scores.Length == 1 ? 0 : Math.Sqrt(squares / (scores.Length - 1) / scores.Length);
        return new MeanEstimate(mean, stderr, scores.Length);
    }
}
