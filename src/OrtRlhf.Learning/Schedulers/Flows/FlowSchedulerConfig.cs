using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The schedule of a flow-matching checkpoint, diffusers' scheduler_config.json of FlowMatchEulerDiscreteScheduler
/// (<see cref="FlowSchedulerConfigJson"/> reads it), whose defaults these are. The model predicts the velocity <c>noise - x0</c> at
/// <c>x_t = (1-t)*x0 + t*noise</c>.
/// </summary>
public sealed record FlowSchedulerConfig
{
    /// <summary>diffusers' class name; "FlowMatchEulerDiscreteScheduler" by default.</summary>
    public string ClassName { get; init; } = "FlowMatchEulerDiscreteScheduler";

    /// <summary>T, by which times are multiplied for the model; 2 to 1,000,000, default 1000.</summary>
    public int TrainTimesteps { get; init; } = 1000;

    /// <summary>k of the static shift <c>k*t/(1 + (k-1)*t)</c>, &gt; 0; default 1 (none), Stable Diffusion 3: 3.</summary>
    public double Shift { get; init; } = 1;

    /// <summary>Shift by the image's size in place of <see cref="Shift"/>; default false.</summary>
    public bool UseDynamicShifting { get; init; }

    /// <summary>mu of images of <see cref="BaseImageSeqLen"/> tokens; default 0.5.</summary>
    public double BaseShift { get; init; } = 0.5;

    /// <summary>mu of images of <see cref="MaxImageSeqLen"/> tokens; default 1.15.</summary>
    public double MaxShift { get; init; } = 1.15;

    /// <summary>Image tokens at which mu is <see cref="BaseShift"/>; default 256.</summary>
    public int BaseImageSeqLen { get; init; } = 256;

    /// <summary>Image tokens at which mu is <see cref="MaxShift"/>; default 4096.</summary>
    public int MaxImageSeqLen { get; init; } = 4096;

    /// <summary>Form of the dynamic shift; default exponential.</summary>
    public FlowTimeShift TimeShift { get; init; } = FlowTimeShift.Exponential;

    /// <summary>Where the last time before 0 is stretched to (LTX-Video), below 1; 0, the default, leaves it.</summary>
    public double ShiftTerminal { get; init; }

    /// <summary>The curve that the times follow in the end; default none, those of the shift.</summary>
    public FlowCurve Curve { get; init; }

    /// <summary>mu of the dynamic shift, on the line through both given points.</summary>
    /// <param name="tokens">Image tokens: latent height times width over the patch's area.</param>
    public double Mu(int tokens) => BaseShift + (MaxShift - BaseShift) * (tokens - BaseImageSeqLen) / (MaxImageSeqLen - BaseImageSeqLen);

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate() => new Faults($"scheduler ({ClassName})")
        .Expect(TrainTimesteps is >= 2 and <= 1_000_000, "num_train_timesteps", "2 to 1000000", TrainTimesteps)
        .Expect(Shift > 0 && double.IsFinite(Shift), "shift", "a number > 0", Shift)
        .Expect(double.IsFinite(BaseShift) && (BaseShift > 0 || !IsLinear), "base_shift", IsLinear ? "a number > 0" : "a number", BaseShift)
        .Expect(double.IsFinite(MaxShift) && (MaxShift > 0 || !IsLinear), "max_shift", IsLinear ? "a number > 0" : "a number", MaxShift)
        .Expect(BaseImageSeqLen > 0, "base_image_seq_len", "a number > 0", BaseImageSeqLen)
        .Expect(MaxImageSeqLen > BaseImageSeqLen, "max_image_seq_len", "more than base_image_seq_len", MaxImageSeqLen)
        .Expect(ShiftTerminal is >= 0 and < 1, "shift_terminal", "a number in [0, 1)", ShiftTerminal)
        .Throw();

    private bool IsLinear => UseDynamicShifting && TimeShift == FlowTimeShift.Linear;
}
