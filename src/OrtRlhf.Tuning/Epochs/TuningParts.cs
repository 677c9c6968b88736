using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Tuning.Epochs;

/// <summary>What a run works with, loaded once. The reward stays its caller's.</summary>
internal sealed class TuningParts : IDisposable
{
    private TuningParts(TuningOptions options, TuningEnvironment environment, PromptPool prompts, WeightedReward reward, Policy policy,
        Pipeline pipeline)
    {
        (Options, Environment, Prompts, Reward, Policy, Pipeline) = (options, environment, prompts, reward, policy, pipeline);
        Judged = options.EvaluationSampling == options.Sampling ? pipeline : pipeline.With(options.EvaluationSampling);
        Learner = new Learner(options, policy.Adapters);
    }

    public TuningOptions Options { get; }

    public TuningEnvironment Environment { get; }

    public PromptPool Prompts { get; }

    public WeightedReward Reward { get; }

    public Policy Policy { get; }

    public Pipeline Pipeline { get; }

    /// <summary>The same, as it samples for evaluation.</summary>
    public Pipeline Judged { get; }

    public Learner Learner { get; }

    /// <summary>People's choices; null where there are none.</summary>
    public PreferenceSelection? Selection { get; init; }

    /// <summary>Loads everything; the adapters are the base model's.</summary>
    /// <param name="model">The model that the options name.</param>
    /// <param name="options">What to do.</param>
    /// <param name="environment">Progress.</param>
    /// <param name="prompts">Prompts.</param>
    /// <param name="reward">What is raised.</param>
    /// <param name="initial">The adapter to go on from; null for new ones.</param>
    /// <param name="selection">People's choices; null where there are none.</param>
    /// <exception cref="UserError">The model cannot be read or run, or nothing in it can be trained.</exception>
    public static TuningParts Load(ImageModel model, TuningOptions options, TuningEnvironment environment, PromptPool prompts,
        WeightedReward reward, AdapterFile? initial, PreferenceSelection? selection)
    {
        environment.Progress(new(TuningStage.Loading, 0, options.Epochs, 0, 0));
        options = options.ResolvedFor(model);
        var lora = new LoraOptions { Targets = options.LoraTargets!, Rank = options.LoraRank, Alpha = options.LoraAlpha };
        var policy = initial is null ? Policy.Create(model, lora, options.Seed) : Policy.WithAdapter(model, initial, trainable: true);
        Pipeline? pipeline = null;
        try
        {
            pipeline = new Pipeline(policy, options.Sampling, options.Session);
            if (options.TrainsOnSteps) pipeline.Table.RequireDensity();
            return new TuningParts(options, environment, prompts, reward, policy, pipeline) { Selection = selection };
        }
        catch
        {
            pipeline?.Dispose();
            policy.Dispose();
            throw;
        }
    }

    public void Report(TuningStage stage, int epoch, int done, int total) =>
        Environment.Progress(new(stage, epoch, Options.Epochs, done, total));

    public void Dispose()
    {
        Pipeline.Dispose();
        Policy.Dispose();
    }
}
