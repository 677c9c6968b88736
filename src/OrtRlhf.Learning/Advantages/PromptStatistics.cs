using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Advantages;

/// <summary>Options of <see cref="PromptStatistics"/>.</summary>
public sealed record PromptStatisticsOptions
{
    /// <summary>Rewards kept for each prompt, the latest ones; 1 to 1,000,000, default 16.</summary>
    public int BufferSize { get; init; } = 16;

    /// <summary>Rewards a prompt needs before its own statistics are used; 1 to the buffer size, default 16.</summary>
    public int MinCount { get; init; } = 16;

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("advantages per prompt")
        .Expect(BufferSize is >= 1 and <= 1_000_000, "buffer size", "1 to 1000000", BufferSize)
        .Expect(MinCount >= 1 && MinCount <= BufferSize, "minimal count", "1 to the buffer size", MinCount)
        .Throw();
}

/// <summary>
/// Advantages against the running statistics of each prompt (Black et al. 2023, DDPO section 5.1):
/// <c>A = (r - mean_p)/(std_p + 1e-6)</c> over the prompt's latest rewards, this batch's included; a prompt with too few of them
/// uses the batch's statistics. A prompt whose rewards are all equal carries no signal: A = 0.
/// </summary>
public sealed class PromptStatistics
{
    private readonly PromptStatisticsOptions options;
    private readonly SortedDictionary<string, Queue<float>> buffers = new(StringComparer.Ordinal);

    /// <summary>Starts without any rewards.</summary>
    /// <exception cref="UserError">The options are out of range.</exception>
    public PromptStatistics(PromptStatisticsOptions options)
    {
        options.Validate();
        this.options = options;
    }

    /// <summary>Takes in a batch's rewards and gives its advantages.</summary>
    /// <param name="prompts">The prompt of each sample.</param>
    /// <param name="rewards">The reward of each sample, finite.</param>
    /// <param name="rewardName">The reward's name, for messages.</param>
    /// <returns>One advantage a sample, in standard deviations.</returns>
    /// <exception cref="UserError">A reward is NaN or infinite; nothing is taken in then.</exception>
    /// <exception cref="ArgumentException">Spans of different lengths.</exception>
    public float[] Update(ReadOnlySpan<string> prompts, ReadOnlySpan<float> rewards, string rewardName)
    {
        Advantage.RequireFinite(rewards, rewardName);
        if (prompts.Length != rewards.Length)
            throw new ArgumentException($"expected one prompt a sample, got {prompts.Length} for {rewards.Length}");
        for (var i = 0; i < prompts.Length; i++)
        {
            if (!buffers.TryGetValue(prompts[i], out var buffer))
                buffers[prompts[i]] = buffer = new();
            buffer.Enqueue(rewards[i]);
            if (buffer.Count > options.BufferSize)
                buffer.Dequeue();
        }

        var batch = Advantage.Spread.Of(rewards);
        var spreads = new Dictionary<string, Advantage.Spread>(StringComparer.Ordinal);
        var advantages = new float[rewards.Length];
        for (var i = 0; i < prompts.Length; i++)
        {
            if (!spreads.TryGetValue(prompts[i], out var spread))
            {
                var buffer = buffers[prompts[i]];
                spreads[prompts[i]] = spread = buffer.Count < options.MinCount ? batch : Advantage.Spread.Of(buffer.ToArray());
            }
            advantages[i] = spread.Normalise(rewards[i]);
        }
        return advantages;
    }

    /// <summary>The rewards kept for each prompt, oldest first, for a checkpoint.</summary>
    public IReadOnlyDictionary<string, float[]> Snapshot() => buffers.ToDictionary(b => b.Key, b => b.Value.ToArray());

    /// <summary>Replaces the state by a snapshot.</summary>
    public void Restore(IReadOnlyDictionary<string, float[]> snapshot)
    {
        buffers.Clear();
        foreach (var (prompt, rewards) in snapshot)
            buffers[prompt] = new(rewards.TakeLast(options.BufferSize));
    }
}
