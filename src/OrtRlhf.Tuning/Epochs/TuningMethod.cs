namespace OrtRlhf.Tuning.Epochs;

/// <summary>How a run learns; on the command line and in files by its lower-case name.</summary>
public enum TuningMethod
{
    /// <summary>Policy gradient with a clipped importance ratio: <see cref="OrtRlhf.Learning.Losses.Ddpo"/>.</summary>
    Ddpo,

    /// <summary>Plain policy gradient: <see cref="OrtRlhf.Learning.Losses.Reinforce"/>.</summary>
    Reinforce,

    /// <summary>Policy gradient in groups of a prompt's images, with a KL term to the base model: <see cref="OrtRlhf.Learning.Losses.FlowGrpo"/>.</summary>
    FlowGrpo,

    /// <summary>DiffusionNFT, on the forward process, with any sampler: <see cref="OrtRlhf.Learning.Losses.Nft"/>.</summary>
    Nft,

    /// <summary>Antithetic evolution strategies, no gradients: <see cref="OrtRlhf.Learning.Optimizers.EvolutionStrategies"/>.</summary>
    Es,

    /// <summary>Preferences on every step of two trajectories: <see cref="OrtRlhf.Learning.Losses.D3po"/>.</summary>
    D3po,

    /// <summary>Preferences on images: <see cref="OrtRlhf.Learning.Losses.Dpo"/> (Diffusion-DPO).</summary>
    Dpo,

    /// <summary>The same with a margin to reach: <see cref="OrtRlhf.Learning.Losses.Ipo"/>.</summary>
    Ipo,

    /// <summary>Likes and dislikes without pairs: <see cref="OrtRlhf.Learning.Losses.Kto"/>.</summary>
    Kto,

    /// <summary>Supervised fine-tuning on preferred images.</summary>
    Sft,

    /// <summary>Supervised fine-tuning on all images, weighted by how good they were found.</summary>
    Rwr,
}

/// <summary>What methods have in common.</summary>
public static class TuningMethods
{
    /// <summary>Whether a method trains on the sampler's steps, which must have a density.</summary>
    public static bool TrainsOnSteps(this TuningMethod method) => method is TuningMethod.Ddpo or TuningMethod.Reinforce or TuningMethod.FlowGrpo or TuningMethod.D3po;

    /// <summary>Whether a method learns from choices among candidates.</summary>
    public static bool LearnsFromPreferences(this TuningMethod method) =>
        method is TuningMethod.D3po or TuningMethod.Dpo or TuningMethod.Ipo or TuningMethod.Kto or TuningMethod.Sft or TuningMethod.Rwr;
}

/// <summary>What d3po holds the policy to.</summary>
public enum PreferenceReference
{
    /// <summary>The model without adapters.</summary>
    Base,

    /// <summary>The policy that drew the trajectories, that of the round.</summary>
    Round,
}

/// <summary>What a reward is compared with to become an advantage.</summary>
public enum AdvantageBaseline
{
    /// <summary>
    /// <see cref="GroupMean"/> when a prompt has several images in an epoch; else <see cref="Prompt"/> when the list has fewer prompts than an
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
