using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>Reads diffusers' scheduler_config.json. Missing keys take the default of the config's own class.</summary>
public static class SchedulerConfigJson
{
    // The defaults of each class.
    private static readonly Dictionary<string, SchedulerConfig> Classes = new()
    {
        ["DDIMScheduler"] = new() { ClassName = "DDIMScheduler" },
        ["DDPMScheduler"] = new() { ClassName = "DDPMScheduler" },
        ["PNDMScheduler"] = new() { ClassName = "PNDMScheduler", ClipSample = false, SetAlphaToOne = false },
        ["EulerDiscreteScheduler"] = Integrator("EulerDiscreteScheduler"),
        ["EulerAncestralDiscreteScheduler"] = Integrator("EulerAncestralDiscreteScheduler"),
        ["LMSDiscreteScheduler"] = Integrator("LMSDiscreteScheduler"),
        ["HeunDiscreteScheduler"] = Integrator("HeunDiscreteScheduler") with { BetaStart = 0.00085, BetaEnd = 0.012 },
        ["DPMSolverMultistepScheduler"] = Integrator("DPMSolverMultistepScheduler"),
        ["DPMSolverSinglestepScheduler"] = Integrator("DPMSolverSinglestepScheduler"),
        ["UniPCMultistepScheduler"] = Integrator("UniPCMultistepScheduler"),
        ["DEISMultistepScheduler"] = Integrator("DEISMultistepScheduler"),
        ["SASolverScheduler"] = Integrator("SASolverScheduler"),
        ["KDPM2DiscreteScheduler"] = Integrator("KDPM2DiscreteScheduler") with { BetaStart = 0.00085, BetaEnd = 0.012 },
        ["KDPM2AncestralDiscreteScheduler"] = Integrator("KDPM2AncestralDiscreteScheduler") with { BetaStart = 0.00085, BetaEnd = 0.012 },
        ["DPMSolverSDEScheduler"] = Integrator("DPMSolverSDEScheduler") with { BetaStart = 0.00085, BetaEnd = 0.012 },
    };

    // Settings that change the sampler in a way no table of ours has.
    private static readonly string[] Unsupported =
        ["thresholding", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas", "use_lu_lambdas"];

    // Classes that sample another process than the betas' own, and what to do.
    private static readonly Dictionary<string, string> Others = new()
    {
        ["LCMScheduler"] = "a model distilled to a few steps needs its own sampler, which has no equal table; tune the model it was "
            + "distilled from",
        ["TCDScheduler"] = "a model distilled to a few steps needs its own sampler, which has no equal table; tune the model it was "
            + "distilled from",
        ["FlowMatchEulerDiscreteScheduler"] = "flow models are not among the models here",
        ["EDMEulerScheduler"] = "models trained on continuous noise levels have no betas",
        ["EDMDPMSolverMultistepScheduler"] = "models trained on continuous noise levels have no betas",
    };

    /// <summary>The diffusers classes whose configs are understood.</summary>
    public static IReadOnlyCollection<string> SupportedClasses => Classes.Keys;

    /// <summary>Reads a file; see <see cref="Parse"/>.</summary>
    /// <param name="path">Path of scheduler_config.json.</param>
    /// <exception cref="UserError">The file cannot be read or does not parse.</exception>
    public static SchedulerConfig Read(string path) => Parse(SchedulerKeys.Text(path), path);

    /// <summary>Parses the text of a scheduler_config.json and validates it.</summary>
    /// <param name="json">The file's text.</param>
    /// <param name="source">Where it came from, for messages.</param>
    /// <exception cref="UserError">Not JSON, a class or setting that is not supported, or a value out of range.</exception>
    public static SchedulerConfig Parse(string json, string source = "scheduler_config.json") =>
        SchedulerKeys.Parse(json, source, keys => FromKeys(keys, source));

    private static SchedulerConfig FromKeys(SchedulerKeys keys, string source)
    {
        var className = keys.Text("_class_name", "DDIMScheduler");
        if (!Classes.TryGetValue(className, out var d))
            throw new UserError(
                $"{source}: _class_name: {className} is not supported{(Others.TryGetValue(className, out var why) ? ": " + why : "")}; "
                    + $"expected one of {string.Join(", ", SupportedClasses)}");
        foreach (var key in Unsupported)
            if (keys.Flag(key, false))
                throw new UserError($"{source}: {key}: expected false, got true, which has no equal table; set it to false");

        if (keys.Text("timestep_type", "discrete") == "continuous")
            throw new UserError(
                $"{source}: timestep_type: expected discrete, got continuous: a model trained on continuous noise levels has no betas");
        foreach (var key in (string[])["sigma_min", "sigma_max"])
            if (keys.Has(key))
                throw new UserError($"{source}: {key}: expected null, got a number, which has no equal table; set it to null");

        var config = d with
        {
            TrainTimesteps = keys.Integer("num_train_timesteps", d.TrainTimesteps),
            BetaStart = keys.Number("beta_start", d.BetaStart),
            BetaEnd = keys.Number("beta_end", d.BetaEnd),
            TrainedBetas = keys.Numbers("trained_betas"),
            Betas = keys.Choice("beta_schedule", d.Betas, ("linear", BetaSchedule.Linear), ("scaled_linear", BetaSchedule.ScaledLinear),
                ("squaredcos_cap_v2", BetaSchedule.Cosine), ("sigmoid", BetaSchedule.Sigmoid)),
            Prediction = keys.Choice("prediction_type", d.Prediction, ("epsilon", PredictionType.Epsilon),
                ("v_prediction", PredictionType.Velocity), ("sample", PredictionType.Sample)),
            Spacing = keys.Choice("timestep_spacing", d.Spacing, ("leading", TimestepSpacing.Leading),
                ("trailing", TimestepSpacing.Trailing), ("linspace", TimestepSpacing.Linspace)),
            StepsOffset = keys.Integer("steps_offset", d.StepsOffset),
            SetAlphaToOne = d.StepsToNextTimestep
                ? keys.Text("final_sigmas_type", "zero") == "zero"
                : keys.Flag("set_alpha_to_one", d.SetAlphaToOne),
            RescaleBetasZeroSnr = keys.Flag("rescale_betas_zero_snr", d.RescaleBetasZeroSnr),
            // Configs often carry keys of other classes; a class that does not clip ignores this one.
            ClipSample = d.ClipSample && keys.Flag("clip_sample", true),
            ClipSampleRange = keys.Number("clip_sample_range", d.ClipSampleRange),
            Variance = d.ClassName == "DDPMScheduler"
                ? keys.Choice("variance_type", d.Variance, ("fixed_small", VarianceType.FixedSmall),
                    ("fixed_small_log", VarianceType.FixedSmall), ("fixed_large", VarianceType.FixedLarge))
                : d.Variance,
        };
        config.Validate();
        return config;
    }

    private static SchedulerConfig Integrator(string className) => new()
    {
        ClassName = className,
        Spacing = TimestepSpacing.Linspace,
        ClipSample = false,
        StepsToNextTimestep = true,
    };
}
