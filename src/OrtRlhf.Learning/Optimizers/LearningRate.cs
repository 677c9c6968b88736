using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Optimizers;

/// <summary>What the learning rate does after the warm-up.</summary>
public enum LearningRateDecay
{
    /// <summary>It stays.</summary>
    Constant,

    /// <summary>It falls to the final fraction along half a cosine.</summary>
    Cosine,

    /// <summary>It falls to the final fraction along a line.</summary>
    Linear,
}

/// <summary>
/// Learning rate of step k = 0, 1, ...: it rises linearly, <c>peak*(k+1)/warmup</c>, over the warm-up, then with
/// <c>u = (k - warmup)/(total - warmup)</c> stays, or falls as <c>f + (1-f)*(1 + cos(pi u))/2</c> or <c>1 - (1-f)*u</c> times the peak.
/// </summary>
public sealed record LearningRate
{
    /// <summary>Largest learning rate, &gt; 0; default 3e-4 (LoRA).</summary>
    public double Peak { get; init; } = 3e-4;

    /// <summary>Steps of linear warm-up, at least 0; default 0.</summary>
    public int WarmupSteps { get; init; }

    /// <summary>Steps after which a decay ends; above the warm-up, not used by a constant rate; default 0.</summary>
    public int TotalSteps { get; init; }

    /// <summary>What happens after the warm-up; default constant.</summary>
    public LearningRateDecay Decay { get; init; } = LearningRateDecay.Constant;

    /// <summary>f, what a decay ends at, as a fraction of the peak; 0 to 1, default 0.</summary>
    public double FinalFraction { get; init; }

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults("learning rate")
        .Expect(Peak > 0 && double.IsFinite(Peak), "peak", "a number > 0", Peak)
        .Expect(WarmupSteps >= 0, "warm-up steps", "0 or more", WarmupSteps)
        .Expect(Decay == LearningRateDecay.Constant || TotalSteps > WarmupSteps, "total steps", "more than the warm-up", TotalSteps)
        .Expect(FinalFraction is >= 0 and <= 1, "final fraction", "0 to 1", FinalFraction)
        .Throw();

    /// <summary>The rate of a step, counted from 0.</summary>
    public double At(int step)
    {
        if (step < WarmupSteps)
            return Peak * (step + 1) / WarmupSteps;
        if (Decay == LearningRateDecay.Constant)
            return Peak;
        var u = Math.Min(1, (step - WarmupSteps) / (double)(TotalSteps - WarmupSteps));
        var left = Decay == LearningRateDecay.Cosine ? (1 + Math.Cos(Math.PI * u)) / 2 : 1 - u;
        return Peak * (FinalFraction + (1 - FinalFraction) * left);
    }
}
