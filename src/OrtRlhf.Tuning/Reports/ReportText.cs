using System.Globalization;
using System.Net;
using OrtRlhf.Learning.Statistics;

namespace OrtRlhf.Tuning.Reports;

/// <summary>Numbers and texts as the report prints them, the same under every culture.</summary>
internal static class ReportText
{
    private static readonly CultureInfo Culture = CultureInfo.InvariantCulture;

    /// <summary>Escapes text for HTML, attributes included.</summary>
    public static string Html(string text) => WebUtility.HtmlEncode(text);

    /// <summary>A number with a true minus sign and the decimals given.</summary>
    public static string Fixed(double value, int decimals) => Minus(value.ToString("N" + decimals, Culture));

    /// <summary>About three significant digits: 1,234 · 12.3 · 0.0123 · 1.2e-5.</summary>
    public static string Short(double value)
    {
        if (!double.IsFinite(value)) return Minus(value.ToString(Culture));
        var size = Math.Abs(value);
        if (size is > 0 and < 1e-3 or >= 1e7) return Minus(value.ToString("0.#e+0", Culture).Replace("e+", "e"));
        return Fixed(value, size is 0 or >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
    }

    /// <summary>As <see cref="Fixed"/>, with a sign always.</summary>
    public static string Signed(double value, int decimals) => (value > 0 ? "+" : "") + Fixed(value, decimals);

    /// <summary>A weight as it was written.</summary>
    public static string Weight(double weight) => Minus(weight.ToString(Culture));

    /// <summary>Decimals that show two digits of a standard error, at most 6.</summary>
    public static int Decimals(params ReadOnlySpan<MeanEstimate> estimates)
    {
        var decimals = 0;
        foreach (var estimate in estimates)
        {
            if (estimate.Stderr > 0) decimals = Math.Max(decimals, 1 - (int)Math.Floor(Math.Log10(estimate.Stderr)));
            else if (estimate.Mean != Math.Round(estimate.Mean)) decimals = Math.Max(decimals, 3);
        }
        return Math.Clamp(decimals, 0, 6);
    }

    /// <summary>A whole number with separators.</summary>
    public static string Count(long value) => value.ToString("N0", Culture);

    /// <summary>42 s, 3 min 21 s, 2 h 05 min.</summary>
    public static string Duration(double seconds)
    {
        var time = TimeSpan.FromSeconds(Math.Max(0, seconds));
        return time.TotalMinutes < 1 ? $"{Fixed(time.TotalSeconds, time.TotalSeconds < 10 ? 1 : 0)} s"
            : time.TotalHours < 1 ? $"{(int)time.TotalMinutes} min {time.Seconds:D2} s" : $"{(int)time.TotalHours} h {time.Minutes:D2} min";
    }

    /// <summary>Megabytes or gigabytes of 1000.</summary>
    public static string Bytes(long bytes) => bytes < 1_000_000_000 ? $"{Count(bytes / 1_000_000)} MB" : $"{Fixed(bytes / 1e9, 2)} GB";

    /// <summary>A number of standard errors with its sign.</summary>
    public static string StandardErrors(double count) =>
        double.IsInfinity(count) ? "beyond any error" : (count > 0 ? "+" : "") + Fixed(count, Math.Abs(count) < 10 ? 1 : 0);

    /// <summary>"a+2*b" as "a + 2 × b".</summary>
    public static string Expression(IReadOnlyDictionary<string, double> weights) => string.Concat(weights.Select((term, i) =>
        (term.Value < 0 ? i == 0 ? "−" : " − " : i == 0 ? "" : " + ")
        + (Math.Abs(term.Value) == 1 ? "" : Weight(Math.Abs(term.Value)) + " × ") + term.Key));

    private static string Minus(string text) => text.Replace('-', '−');
}
