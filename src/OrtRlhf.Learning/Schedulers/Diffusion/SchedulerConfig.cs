using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// The noise schedule and sampling settings of a checkpoint, diffusers' scheduler_config.json
/// (<see cref="SchedulerConfigJson"/> reads it). Defaults are those of diffusers' DDIMScheduler.
/// </summary>
/// <remarks>
/// Other scheduler classes store the same betas; only their solver differs, so their configs map to the tables built here
/// (<see cref="DdimTable"/>, <see cref="DdpmTable"/>, <see cref="DpmSolverTable"/>):
/// EulerDiscrete is exactly the DDIM table with eta 0 and EulerAncestralDiscrete the one with eta 1 (timesteps rounded to
/// integers, first latent of unit variance); PNDM, LMSDiscrete, HeunDiscrete, KDPM2, UniPCMultistep, DEISMultistep, SASolver and DPMSolver
/// are
/// other integrators of the same equation: they are sampled with the DDIM or the DPM-Solver++(2M) table of their betas.
/// </remarks>
public sealed record SchedulerConfig
{
    /// <summary>diffusers' class name, e.g. "DDIMScheduler"; "DDIMScheduler" by default.</summary>
    public string ClassName { get; init; } = "DDIMScheduler";

    /// <summary>T, the number of training timesteps; 2 to 1,000,000, default 1000.</summary>
    public int TrainTimesteps { get; init; } = 1000;

    /// <summary>First beta, in (0, 1); default 1e-4.</summary>
    public double BetaStart { get; init; } = 1e-4;

    /// <summary>Last beta, in (0, 1); default 0.02.</summary>
    public double BetaEnd { get; init; } = 0.02;

    /// <summary>Shape of the betas; default linear.</summary>
    public BetaSchedule Betas { get; init; } = BetaSchedule.Linear;

    /// <summary>The T betas themselves, each in [0, 1], in place of start, end and shape; default null.</summary>
    public IReadOnlyList<double>? TrainedBetas { get; init; }

    /// <summary>What the denoiser predicts; default epsilon.</summary>
    public PredictionType Prediction { get; init; } = PredictionType.Epsilon;

    /// <summary>How sampling timesteps are chosen; default leading.</summary>
    public TimestepSpacing Spacing { get; init; } = TimestepSpacing.Leading;

    /// <summary>Added to the timesteps of leading spacing; 0 to T-1, default 0 (Stable Diffusion: 1).</summary>
    public int StepsOffset { get; init; }

    /// <summary>Alpha bar after the last step: 1 when true (default), else alpha bar of timestep 0.</summary>
    public bool SetAlphaToOne { get; init; } = true;

    /// <summary>Rescale the betas so that alpha bar of the last timestep is 0 (Lin et al. 2023); default false.</summary>
    public bool RescaleBetasZeroSnr { get; init; }

    /// <summary>Clamp the predicted clean sample (<see cref="X0Clip"/>); default true as in diffusers' DDIM and DDPM.</summary>
    public bool ClipSample { get; init; } = true;

    /// <summary>Half width of that clamp, in units of the latent; &gt; 0, default 1.</summary>
    public double ClipSampleRange { get; init; } = 1;

    /// <summary>Variance of DDPM's steps; default fixed_small.</summary>
    public VarianceType Variance { get; init; } = VarianceType.FixedSmall;

    /// <summary>
    /// Where a DDIM step from t lands: false (default, diffusers' DDIM) at <c>t - T/N</c> in integers, true (the Euler family)
    /// at the table's next timestep. The two differ only when N does not divide T or with linspace spacing.
    /// </summary>
    public bool StepsToNextTimestep { get; init; }

    /// <summary>Checks all values.</summary>
    /// <exception cref="UserError">One line that names every fault.</exception>
    public void Validate()
    {
        var faults = new List<string>();
        if (TrainTimesteps is < 2 or > 1_000_000)
            faults.Add($"num_train_timesteps: expected 2 to 1000000, got {TrainTimesteps}");
        if (TrainedBetas is null)
        {
            if (!(BetaStart is > 0 and < 1))
                faults.Add($"beta_start: expected a number in (0, 1), got {BetaStart}");
            if (!(BetaEnd is > 0 and < 1))
                faults.Add($"beta_end: expected a number in (0, 1), got {BetaEnd}");
        }
        else if (TrainedBetas.Count != TrainTimesteps)
            faults.Add($"trained_betas: expected {TrainTimesteps} numbers, got {TrainedBetas.Count}");
        else if (TrainedBetas.Any(beta => !(beta is >= 0 and <= 1)))
            faults.Add($"trained_betas: expected numbers in [0, 1], got {TrainedBetas.First(beta => !(beta is >= 0 and <= 1))}");
        if (StepsOffset < 0 || StepsOffset >= TrainTimesteps)
            faults.Add($"steps_offset: expected 0 to {TrainTimesteps - 1}, got {StepsOffset}");
        if (!(ClipSampleRange > 0 && double.IsFinite(ClipSampleRange)))
            faults.Add($"clip_sample_range: expected a number > 0, got {ClipSampleRange}");
        if (faults.Count > 0)
            throw new UserError($"scheduler ({ClassName}): {string.Join("; ", faults)}; correct scheduler_config.json");
    }
}
