using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>What methods have that run a training graph on an epoch's images.</summary>
public abstract record GradientOptions : TuningOptions
{
    /// <summary>Updates that an epoch's images are split over.</summary>
    [Category(Learning)]
    public int UpdatesPerPass { get; init; } = 4;

    /// <summary>Times that an epoch's images are trained on.</summary>
    [Category(Learning), Range(1, 1000)]
    public int Passes { get; init; } = 1;

    /// <summary>Rows a run of the training graph; less needs less memory, and changes rounding only.</summary>
    [Category(Learning), Range(1, 4096)]
    public int MicroBatch { get; init; } = 16;

    /// <inheritdoc/>
    internal override int UpdatesPerEpoch => Limited((long)UpdatesPerPass * Passes);

    /// <inheritdoc/>
    public override IEnumerable<string> Faults()
    {
        foreach (var fault in base.Faults()) yield return fault;
        if (UpdatesPerPass < 1
            || UpdatesPerPass > Images) yield return $"`UpdatesPerPass`: expected 1 to {Images}, the images, got {UpdatesPerPass}";
    }
}
