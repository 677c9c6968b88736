using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;

namespace OrtRlhf.Graph;

/// <summary>The ranges that options carry as <see cref="RangeAttribute"/>, in words and as checks.</summary>
public static class OptionRange
{
    /// <summary>One line for each property that is out of its range, its name in backquotes; null is in every range.</summary>
    /// <param name="options">A record of options.</param>
    public static IEnumerable<string> Faults(object options)
    {
        foreach (var property in options.GetType().GetProperties())
        {
            if (property.GetCustomAttribute<RangeAttribute>() is not { } range || property.GetValue(options) is not { } value) continue;
            if (!Holds(range, Convert.ToDouble(value, CultureInfo.InvariantCulture)))
                yield return string.Create(CultureInfo.InvariantCulture, $"`{property.Name}`: expected {Describe(range)}, got {value}");
        }
    }

    /// <summary>A range in words: "1 to 64", "0 or more", "a number &gt; 0", "a number in (0, 1]".</summary>
    /// <param name="range">The range.</param>
    public static string Describe(RangeAttribute range)
    {
        var (low, high) = (Convert.ToDouble(range.Minimum, CultureInfo.InvariantCulture),
            Convert.ToDouble(range.Maximum, CultureInfo.InvariantCulture));
        FormattableString text = (high >= int.MaxValue, range.OperandType == typeof(int)) switch
        {
            (true, _) when range.MinimumIsExclusive => $"a number > {low}",
            (true, _) => $"{low} or more",
            (false, true) => $"{low} to {high}",
            _ => $"a number in {(range.MinimumIsExclusive ? '(' : '[')}{low}, {high}{(range.MaximumIsExclusive ? ')' : ']')}",
        };
        return text.ToString(CultureInfo.InvariantCulture);
    }

    // A limit of double.MaxValue stands for any finite number; infinity for any.
    private static bool Holds(RangeAttribute range, double value)
    {
        var (low, high) = (Convert.ToDouble(range.Minimum, CultureInfo.InvariantCulture),
            Convert.ToDouble(range.Maximum, CultureInfo.InvariantCulture));
        return (range.MinimumIsExclusive ? value > low : value >= low) && (range.MaximumIsExclusive ? value < high : value <= high);
    }
}
