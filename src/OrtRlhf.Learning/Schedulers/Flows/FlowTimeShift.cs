namespace OrtRlhf.Learning.Schedulers;

/// <summary>The form of the shift that follows the image's size (diffusers: <c>time_shift_type</c>).</summary>
public enum FlowTimeShift
{
    /// <summary><c>e^mu/(e^mu + 1/t - 1)</c>, a static shift by e^mu (diffusers "exponential").</summary>
    Exponential,

    /// <summary><c>mu/(mu + 1/t - 1)</c> (diffusers "linear").</summary>
    Linear,
}
