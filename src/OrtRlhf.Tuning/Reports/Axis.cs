namespace OrtRlhf.Tuning.Reports;

/// <summary>A range with round ticks: multiples of 1, 2 or 5 times a power of ten.</summary>
internal sealed record Axis(double Min, double Max, IReadOnlyList<double> Ticks, int Decimals)
{
    /// <summary>An axis that covers the values.</summary>
    /// <param name="values">At least one finite value; others are passed over.</param>
    /// <param name="ticks">About how many ticks.</param>
    /// <param name="toTicks">Whether the range ends at ticks, or at the values themselves.</param>
    public static Axis Over(IEnumerable<double> values, int ticks, bool toTicks)
    {
        var finite = values.Where(double.IsFinite).DefaultIfEmpty(0).ToArray();
        var (min, max) = (finite.Min(), finite.Max());
        if (max - min <= 1e-12 * Math.Max(Math.Abs(min), Math.Abs(max)) || max == min)
        {
            var half = min == 0 ? 1 : Math.Abs(min) * 0.1;
            if (toTicks) (min, max) = (min - half, max + half);
            else max = min + 1;
        }
        var raw = (max - min) / Math.Max(ticks, 1);
        var power = Math.Pow(10, Math.Floor(Math.Log10(raw)));
        var step = power * ((raw / power) switch { < 1.42 => 1, < 3.17 => 2, < 7.08 => 5, _ => 10 });
        if (toTicks) (min, max) = (Math.Floor(min / step + 1e-9) * step, Math.Ceiling(max / step - 1e-9) * step);
        var first = Math.Ceiling(min / step - 1e-9);
        var count = (int)Math.Floor(max / step + 1e-9) - (int)first + 1;
        var decimals = Math.Clamp(-(int)Math.Floor(Math.Log10(step) + 1e-9), 0, 8);
        return new Axis(min, max, [.. Enumerable.Range(0, count).Select(i => (first + i) * step)], decimals);
    }

    /// <summary>Where a value lies, 0 at <see cref="Min"/> and 1 at <see cref="Max"/>.</summary>
    public double Place(double value) => (value - Min) / (Max - Min);
}
