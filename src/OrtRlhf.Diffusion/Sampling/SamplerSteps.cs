using System.Text.Json;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Learning.Schedulers;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>The steps of a sampler: a table of Gaussian ones, or a deterministic solver that looks back. One of both is there.</summary>
/// <param name="Table">Gaussian steps.</param>
/// <param name="Solver">A solver's.</param>
public sealed record SamplerSteps(SamplerTable? Table, DpmSolverTable? Solver)
{
    /// <summary>The sampler and its settings in a few words.</summary>
    public string Name => Table?.Name ?? Solver!.Name;

    /// <summary>Where the model is evaluated, from noise to image.</summary>
    public IEnumerable<double> Times => Table?.Steps.Select(step => step.Time) ?? Solver!.Rows.Select(row => row.Time);

    /// <summary>The steps of a model's sampler.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">Sampler, steps, noise.</param>
    /// <exception cref="UserError">The sampler is not one of such models, or an option is out of range.</exception>
    public static SamplerSteps Of(ImageModel model, SamplingOptions options)
    {
        if (model.Flow is { } flow) return OfFlow(model, flow, options);
        if (options.NoiseLevel is not null) throw new UserError(
            $"`NoiseLevel`: model '{model.Name}' is no flow; its sampler's noise is `Eta`");
        if (options.NoiseWindow is not null && options.Sampler is not (SamplerKind.Auto or SamplerKind.Ddim)) throw new UserError(
            "`NoiseWindow`: expected `Sampler` ddim or a noisy one of flows");
        var scheduler = options.ClipSample is { } clips ? model.Scheduler! with { ClipSample = clips } : model.Scheduler!;
        return options.Sampler switch
        {
            SamplerKind.Auto or SamplerKind.Ddim => new(DdimTable.Build(scheduler, options.Steps, options.Eta, options.NoiseWindow), null),
            SamplerKind.Ddpm => new(DdpmTable.Build(scheduler, options.Steps), null),
            SamplerKind.DpmSolver => new(null, DpmSolverTable.Build(scheduler, options.Steps)),
            var other => throw new UserError($"`Sampler`: model '{model.Name}' is a diffusion model; expected ddim, ddpm or "
                + $"dpm-solver++, got {JsonNamingPolicy.KebabCaseLower.ConvertName(other.ToString())}, which is of flows"),
        };
    }

    private static SamplerSteps OfFlow(ImageModel model, FlowSchedule flow, SamplingOptions options)
    {
        if (options.Sampler == SamplerKind.AdamsBashforth) return new(null,
            DpmSolverTable.AdamsBashforth(flow, options.Steps, model.FlowSpacing));
        var noise = options.Sampler switch
        {
            SamplerKind.Auto or SamplerKind.Euler => FlowNoise.None,
            SamplerKind.FlowGrpo => FlowNoise.FlowGrpo,
            SamplerKind.DanceGrpo => FlowNoise.DanceGrpo,
            SamplerKind.Cps => FlowNoise.Cps,
            SamplerKind.NoisyEuler => FlowNoise.Assumed,
            var other => throw new UserError($"`Sampler`: model '{model.Name}' is a flow; expected flow-grpo, dance-grpo, cps, "
                + $"noisy-euler, euler or adams-bashforth, got "
                + $"{(other == SamplerKind.DpmSolver ? "dpm-solver++" : other.ToString().ToLowerInvariant())}, which is of diffusion models"),
        };
        return new(FlowTable.Build(flow, new()
        {
            Steps = options.Steps,
            Noise = noise,
            Level = options.NoiseLevel,
            Window = options.NoiseWindow,
            Spacing = model.FlowSpacing
        }), null);
    }
}
