namespace OrtRlhf.Learning;

/// <summary>Values of <see cref="Philox.Step"/> for random numbers that no sampler step uses; sampler steps count from 0.</summary>
public static class RandomStep
{
    /// <summary>The first latent of a trajectory.</summary>
    public const uint InitialLatent = 0xFFFF_FFFF;

    /// <summary>Which prompts an epoch draws.</summary>
    public const uint Prompts = 0xFFFF_FFFE;

    /// <summary>The order in which samples are trained on.</summary>
    public const uint Shuffle = 0xFFFF_FFFD;

    /// <summary>Which timesteps are trained on.</summary>
    public const uint Timesteps = 0xFFFF_FFFC;

    /// <summary>Perturbations of parameters (evolution strategies); the sample is the pair's index.</summary>
    public const uint Perturbation = 0xFFFF_FFFB;

    /// <summary>Initial values of parameters; the sample is the tensor's index.</summary>
    public const uint Initialization = 0xFFFF_FFFA;

    /// <summary>Noise that the forward process adds (DPO, SFT, pre-training).</summary>
    public const uint ForwardNoise = 0xFFFF_FFF9;

    /// <summary>Whether a caption is dropped for classifier-free guidance.</summary>
    public const uint CaptionDropout = 0xFFFF_FFF8;
}
