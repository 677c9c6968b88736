using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>The N sampling timesteps of a config, from large to small, as diffusers' DDIM and DDPM choose them.</summary>
public static class Timesteps
{
    /// <summary>Chooses the timesteps.</summary>
    /// <param name="config">Spacing, steps offset and T.</param>
    /// <param name="count">N, 1 to T.</param>
    /// <returns>N timesteps in falling order, each 0 to T-1.</returns>
    /// <exception cref="UserError">N is out of range, or the steps offset pushes a timestep beyond T-1.</exception>
    public static long[] Of(SchedulerConfig config, int count)
    {
        var last = config.TrainTimesteps;
        Require(config, count, last);
        // Halves round to even, as in numpy.
        Func<int, double> at = config.Spacing switch
        {
            TimestepSpacing.Leading => i => (count - 1 - i) * (long)(last / count) + config.StepsOffset,
            TimestepSpacing.Trailing => i => Math.Round(last - i * ((double)last / count)) - 1,
            _ => i => count == 1 ? 0 : Math.Round((count - 1 - i) * ((last - 1.0) / (count - 1))),
        };
        return InRange(config, [.. Enumerable.Range(0, count).Select(i => (long)at(i))]);
    }

    /// <summary>Chooses them as diffusers' DPM-Solver does: leading and linspace leave out their smallest timestep.</summary>
    /// <inheritdoc cref="Of"/>
    internal static long[] OfDpmSolver(SchedulerConfig config, int count)
    {
        var last = config.TrainTimesteps;
        Require(config, count, last - 1);
        Func<int, double> at = config.Spacing switch
        {
            TimestepSpacing.Leading => i => (count - i) * (long)(last / (count + 1)) + config.StepsOffset,
            TimestepSpacing.Trailing => i => Math.Round(last - i * ((double)last / count)) - 1,
            _ => i => Math.Round((count - i) * ((last - 1.0) / count)),
        };
        return InRange(config, [.. Enumerable.Range(0, count).Select(i => (long)at(i))]);
    }

    private static void Require(SchedulerConfig config, int count, int most)
    {
        if (count < 1 || count > most)
            throw new UserError($"scheduler ({config.ClassName}): steps: expected 1 to {most}, got {count}");
    }

    private static long[] InRange(SchedulerConfig config, long[] timesteps) =>
        timesteps[0] < config.TrainTimesteps
            ? timesteps
            : throw new UserError(
                $"scheduler ({config.ClassName}): steps_offset {config.StepsOffset} with {timesteps.Length} steps: expected timesteps "
                    + $"below {config.TrainTimesteps}, got {timesteps[0]}; use fewer steps or a smaller offset");
}
