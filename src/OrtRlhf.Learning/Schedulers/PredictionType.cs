namespace OrtRlhf.Learning.Schedulers;

/// <summary>What the denoiser's output m is (diffusers: <c>prediction_type</c>).</summary>
public enum PredictionType
{
    /// <summary>The noise: <c>m = epsilon</c> (diffusers "epsilon").</summary>
    Epsilon,

    /// <summary>The velocity <c>m = a_t*epsilon - s_t*x0</c> (diffusers "v_prediction"; Salimans and Ho 2022).</summary>
    Velocity,

    /// <summary>The clean sample: <c>m = x0</c> (diffusers "sample").</summary>
    Sample,
}
