namespace OrtRlhf.Tuning.Epochs;

/// <summary>What a reward is compared with to become an advantage.</summary>
public enum AdvantageBaseline
{
    /// <summary>
    /// <see cref="GroupMean"/> when a prompt has several images in an epoch; else <see cref="Prompt"/> when the list has fewer prompts than
    /// an
    /// epoch has images; else <see cref="Batch"/>.
    /// </summary>
    Auto,

    /// <summary>Mean and deviation of all images of the epoch.</summary>
    Batch,

    /// <summary>Mean and deviation of the epoch's images of the same prompt (GRPO).</summary>
    Group,

    /// <summary>
    /// Mean of the epoch's images of the same prompt, deviation of all images of the epoch (Flow-GRPO's global deviation).
    /// </summary>
    GroupMean,

    /// <summary>
    /// Running mean and deviation of the prompt over epochs (DDPO): <see cref="OrtRlhf.Learning.Advantages.PromptStatistics"/>.
    /// </summary>
    Prompt,
}
