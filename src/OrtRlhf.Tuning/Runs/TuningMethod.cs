namespace OrtRlhf.Tuning.Runs;

/// <summary>How a run learns; on the command line and in files by its lower-case name.</summary>
public enum TuningMethod
{
    /// <summary>Policy gradient with a clipped importance ratio: <see cref="OrtRlhf.Learning.Algorithms.Ddpo"/>.</summary>
    Ddpo,

    /// <summary>Plain policy gradient: <see cref="OrtRlhf.Learning.Algorithms.Reinforce"/>.</summary>
    Reinforce,

    /// <summary>Policy gradient in groups of a prompt's images, with a KL term to the base model: <see cref="OrtRlhf.Learning.Algorithms.FlowGrpo"/>.</summary>
    FlowGrpo,

    /// <summary>DiffusionNFT, on the forward process, with any sampler: <see cref="OrtRlhf.Learning.Algorithms.Nft"/>.</summary>
    Nft,

    /// <summary>Antithetic evolution strategies, no gradients: <see cref="OrtRlhf.Learning.Algorithms.EvolutionStrategies"/>.</summary>
    Es,
}

/// <summary>What a reward is compared with to become an advantage.</summary>
public enum AdvantageBaseline
{
    /// <summary>
    /// <see cref="Group"/> when a prompt has several images in an epoch; else <see cref="Prompt"/> when the list has fewer prompts than an
    /// epoch has images; else <see cref="Batch"/>.
    /// </summary>
    Auto,

    /// <summary>Mean and deviation of all images of the epoch.</summary>
    Batch,

    /// <summary>Mean and deviation of the epoch's images of the same prompt (GRPO).</summary>
    Group,

    /// <summary>Mean of the epoch's images of the same prompt, deviation of all images of the epoch (Flow-GRPO's global deviation).</summary>
    GroupMean,

    /// <summary>Running mean and deviation of the prompt over epochs (DDPO): <see cref="OrtRlhf.Learning.Advantages.PromptStatistics"/>.</summary>
    Prompt,
}
