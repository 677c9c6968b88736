using System.Globalization;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Reads <c>--expert-weights</c>.</summary>
internal static class ExpertWeights
{
    /// <summary>Weights by name, of <c>quality=1</c> and the like; null where there are none.</summary>
    /// <exception cref="UsageError">One is not a name and a number.</exception>
    public static Dictionary<string, double>? Parse(IEnumerable<string> given)
    {
        var weights = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (var text in given)
        {
            var at = text.LastIndexOf('=');
            if (at < 1 || !double.TryParse(text[(at + 1)..], NumberStyles.Float, CultureInfo.InvariantCulture, out var weight) || !double.IsFinite(weight) || !weights.TryAdd(text[..at], weight))
                throw new UsageError($"--expert-weights: expected names and numbers such as quality=1,taste=0.5, each name once, got '{text}'");
        }
        return weights.Count == 0 ? null : weights;
    }
}
