namespace OrtRlhf.Rewards;

/// <summary>A reward that looks at one image at a time on the CPU: images are spread over the cores.</summary>
/// <param name="name">See <see cref="IReward.Name"/>.</param>
/// <param name="score">Scores one image; called from many threads.</param>
/// <param name="fits">See <see cref="IReward.Fits"/>; null means every prompt.</param>
public sealed class PerImageReward(string name, Func<RewardInput, float> score, Func<string, bool>? fits = null) : IReward
{
    /// <inheritdoc/>
    public string Name => name;

    /// <inheritdoc/>
    public bool Fits(string prompt) => fits is null || fits(prompt);

    /// <inheritdoc/>
    public float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default)
    {
        var scores = new float[inputs.Count];
        var options = new ParallelOptions { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        try
        {
            Parallel.For(0, inputs.Count, options, i => scores[i] = score(inputs[i]));
        }
        catch (AggregateException faults) when (faults.InnerExceptions.Count > 0)
        {
            // Several images may fail at once; one of them, with its own stack, says what is wrong.
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(faults.InnerExceptions[0]);
        }
        return scores;
    }
}
