using OrtRlhf.Graph;

namespace OrtRlhf.Learning.Schedulers;

/// <summary>
/// Reads diffusers' scheduler_config.json of flow-matching models; <see cref="SchedulerConfigJson"/> reads those of diffusion models.
/// </summary>
public static class FlowSchedulerConfigJson
{
    // Heun's class has the same times; its solver is another integrator of the same equation.
    private static readonly string[] Classes = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"];

    // Settings that choose another process.
    private static readonly string[] Unsupported = ["invert_sigmas", "stochastic_sampling"];

    private static readonly (string Key, FlowCurve Curve)[] Curves =
        [("use_karras_sigmas", FlowCurve.Karras), ("use_exponential_sigmas", FlowCurve.Exponential), ("use_beta_sigmas", FlowCurve.Beta)];

    /// <summary>The diffusers classes whose configs are understood.</summary>
    public static IReadOnlyCollection<string> SupportedClasses => Classes;

    /// <summary>Whether a config is a flow's, by its <c>_class_name</c>.</summary>
    /// <param name="json">The file's text.</param>
    /// <param name="source">Where it came from, for messages.</param>
    /// <exception cref="UserError">Not a JSON object, or the class is no text.</exception>
    public static bool IsFlow(string json, string source = "scheduler_config.json") =>
        SchedulerKeys.Parse(json, source, keys => keys.Text("_class_name", "").StartsWith("FlowMatch", StringComparison.Ordinal));

    /// <summary>Whether a file is a flow's config; see <see cref="IsFlow"/>.</summary>
    /// <param name="path">Path of scheduler_config.json.</param>
    /// <exception cref="UserError">The file cannot be read or does not parse.</exception>
    public static bool IsFlowFile(string path) => IsFlow(SchedulerKeys.Text(path), path);

    /// <summary>Reads a file; see <see cref="Parse"/>.</summary>
    /// <param name="path">Path of scheduler_config.json.</param>
    /// <exception cref="UserError">The file cannot be read or does not parse.</exception>
    public static FlowSchedulerConfig Read(string path) => Parse(SchedulerKeys.Text(path), path);

    /// <summary>Parses the text of a scheduler_config.json and validates it.</summary>
    /// <param name="json">The file's text.</param>
    /// <param name="source">Where it came from, for messages.</param>
    /// <exception cref="UserError">Not JSON, a class or setting that is not supported, or a value out of range.</exception>
    public static FlowSchedulerConfig Parse(string json, string source = "scheduler_config.json") =>
        SchedulerKeys.Parse(json, source, keys => FromKeys(keys, source));

    private static FlowSchedulerConfig FromKeys(SchedulerKeys keys, string source)
    {
        var d = new FlowSchedulerConfig();
        var className = keys.Text("_class_name", d.ClassName);
        if (!Classes.Contains(className))
            throw new UserError($"{source}: _class_name: {className} is no flow's scheduler that is supported; expected one of "
                + $"{string.Join(", ", Classes)}");
        foreach (var key in Unsupported)
            if (keys.Flag(key, false))
                throw new UserError($"{source}: {key}: expected false, got true, which has no equal table; set it to false");
        var curves = Curves.Where(c => keys.Flag(c.Key, false)).ToArray();
        if (curves.Length > 1)
            throw new UserError($"{source}: {curves[1].Key}: expected false beside {curves[0].Key}, got true; leave one of them");

        var config = d with
        {
            ClassName = className,
            TrainTimesteps = keys.Integer("num_train_timesteps", d.TrainTimesteps),
            Shift = keys.Number("shift", d.Shift),
            UseDynamicShifting = keys.Flag("use_dynamic_shifting", d.UseDynamicShifting),
            BaseShift = keys.Number("base_shift", d.BaseShift),
            MaxShift = keys.Number("max_shift", d.MaxShift),
            BaseImageSeqLen = keys.Integer("base_image_seq_len", d.BaseImageSeqLen),
            MaxImageSeqLen = keys.Integer("max_image_seq_len", d.MaxImageSeqLen),
            TimeShift = keys.Choice("time_shift_type", d.TimeShift, ("exponential", FlowTimeShift.Exponential),
                ("linear", FlowTimeShift.Linear)),
            ShiftTerminal = keys.Number("shift_terminal", d.ShiftTerminal),
            Curve = curves.Length == 1 ? curves[0].Curve : FlowCurve.None,
        };
        config.Validate();
        return config;
    }
}
