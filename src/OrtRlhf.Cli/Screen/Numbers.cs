using System.Globalization;
using OrtRlhf.Learning.Statistics;

namespace OrtRlhf.Cli.Screen;

/// <summary>Numbers as people read them.</summary>
internal static class Numbers
{
    /// <summary>Four significant digits.</summary>
    public static string Write(double value) => value switch
    {
        0 => "0",
        _ when !double.IsFinite(value) => value.ToString(CultureInfo.InvariantCulture),
        _ when Math.Abs(value) is >= 1e-4 and < 1e6 =>
            value.ToString($"F{Math.Clamp(3 - (int)Math.Floor(Math.Log10(Math.Abs(value))), 0, 6)}", CultureInfo.InvariantCulture),
        _ => value.ToString("0.###e0", CultureInfo.InvariantCulture),
    };

    /// <summary>With a sign.</summary>
    public static string Signed(double value) => (value > 0 ? "+" : "") + Write(value);

    /// <summary>A mean and its standard error, with as many decimals as the error's two digits need.</summary>
    public static string Write(MeanEstimate estimate) => Write(estimate.Mean, estimate.Stderr);

    /// <summary>A share and its standard error, in percent.</summary>
    public static string Percent(MeanEstimate share) =>
        string.Create(CultureInfo.InvariantCulture, $"{100 * share.Mean:F1} ± {100 * share.Stderr:F1}");

    /// <inheritdoc cref="Write(MeanEstimate)"/>
    public static string Write(double mean, double error, bool signed = false)
    {
        if (!(error > 0) || !double.IsFinite(mean)) return signed ? Signed(mean) : Write(mean);
        var decimals = Math.Clamp(1 - (int)Math.Floor(Math.Log10(error)), 0, 8);
        var format = "F" + decimals.ToString(CultureInfo.InvariantCulture);
        return $"{(signed && mean > 0 ? "+" : "")}{mean.ToString(format, CultureInfo.InvariantCulture)} ± "
            + $"{error.ToString(format, CultureInfo.InvariantCulture)}";
    }
}

/// <summary>Durations as people read them.</summary>
internal static class Clock
{
    /// <summary>"41 s", "3:07 min" or "2:05 h".</summary>
    /// <param name="seconds">Seconds.</param>
    public static string Write(double seconds)
    {
        var time = TimeSpan.FromSeconds(Math.Round(Math.Max(0, seconds)));
        return time.TotalMinutes < 1 ? $"{time.Seconds} s" : time.TotalHours < 1 ? $"{time.Minutes}:{time.Seconds:D2} min"
            : $"{(int)time.TotalHours}:{time.Minutes:D2} h";
    }
}
