using System.Diagnostics;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>Repeated timings and their middle.</summary>
internal static class Timings
{
    /// <summary>Milliseconds of each of some runs, after three that do not count.</summary>
    public static double[] Of(Action run, int repeats)
    {
        for (var i = 0; i < 3; i++) run();
        var times = new double[repeats];
        foreach (ref var time in times.AsSpan())
        {
            var start = Stopwatch.GetTimestamp();
            run();
            time = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
        }
        return times;
    }

    /// <summary>The middle value; of an even number the mean of the two.</summary>
    public static double Median(IReadOnlyCollection<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
