namespace OrtRlhf.Learning.Schedulers;

/// <summary>How the N sampling times of a flow are chosen before they are shifted.</summary>
public enum FlowSpacing
{
    /// <summary>
    /// N times from the largest to the smallest of training, both included: what diffusers' <c>set_timesteps(N)</c> does, and so Stable
    /// Diffusion 3's
    /// pipeline. With a static shift the smallest is shifted already and is shifted again, so that the last time is not shift(1/N).
    /// </summary>
    Trained,

    /// <summary><c>1 - i/N</c>: what Flux' pipeline and its kin pass to the scheduler.</summary>
    Even,
}
