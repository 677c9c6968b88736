namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The noisy steps among deterministic ones (MixGRPO, Li et al. 2025): only they are trained on, all others can be fewer or solved better.
/// </summary>
/// <param name="First">Index of the first noisy step, from 0.</param>
/// <param name="Count">How many steps are noisy, 1 or more.</param>
public readonly record struct NoiseWindow(int First, int Count)
{
    /// <summary>Whether a step is noisy.</summary>
    public bool Contains(int step) => step >= First && step < First + Count;

    /// <summary>
    /// MixGRPO's sliding window: it begins at the first step, moves on by a stride now and then, from noise to image, and begins again when
    /// it
    /// has met the end.
    /// </summary>
    /// <param name="iteration">Training iteration, from 0.</param>
    /// <param name="steps">N of the table; its last step is never noisy.</param>
    /// <param name="count">Width of the window, 1 to N-1 (MixGRPO: 4).</param>
    /// <param name="interval">Iterations between two moves (MixGRPO: 25); 0 for a window that stays at the first steps.</param>
    /// <param name="stride">Steps of a move, 1 or more (MixGRPO: 1).</param>
    /// <exception cref="Graph.UserError">A value is out of range.</exception>
    public static NoiseWindow Slide(int iteration, int steps, int count = 4, int interval = 25, int stride = 1)
    {
        new Faults("noise window")
            .Expect(iteration >= 0, "iteration", "0 or more", iteration)
            .Expect(count >= 1 && count < steps, "width", $"1 to {steps - 1}, as the last of {steps} steps has no noise", count)
            .Expect(interval >= 0, "interval", "0 or more", interval)
            .Expect(stride >= 1, "stride", "1 or more", stride)
            .Throw();
        if (interval == 0) return new(0, count);
        var last = steps - 1 - count;
        var places = last / stride + (last % stride == 0 ? 1 : 2);
        return new(Math.Min(iteration / interval % places * stride, last), count);
    }
}
