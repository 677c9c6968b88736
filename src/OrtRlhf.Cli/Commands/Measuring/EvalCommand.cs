using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Evaluations;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Rewards;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Cli.Commands;

/// <summary>Judges an adapter against the base model.</summary>
[Verb("eval", HelpText = "Judges an adapter against the base model on held-out prompts and seeds: rewards with standard errors, KL to "
    + "the base model, diversity. "
    + "Both draw the same prompts from the same noise, so that the difference is taken image by image. Without --adapter the base "
        + "model alone.")]
[Example("how good the model that ships is", "eval")]
[Example("what a run has learned, on the prompts it held out", "eval --adapter artifacts/runs/small/adapter/adapter.onnx_adapter")]
[Example("other rewards and prompts, and a file for scripts",
    "eval my-model --adapter my.safetensors --reward jpeg-compressibility,prompt-accuracy --prompts held-out.txt --json eval.json")]
internal sealed class EvalCommand : ModelCommand
{
    [Option("adapter", MetaValue = "FILE", HelpText = "Adapter to judge, .onnx_adapter or .safetensors. One in a run's folder brings the "
        + "run's model, prompts and sampling settings as defaults.")]
    public string? Adapter { get; set; }

    [Option("reward", MetaValue = "A,B",
        HelpText = "Rewards, or weighted sums of them, see the list below. Default all that fit the prompts.")]
    public IEnumerable<string> Reward { get; set; } = [];

    [Option("prompts", MetaValue = "FILE",
        HelpText = "Prompts to draw. Default those that the run held out, else captions of drawn scenes that tuning never sees.")]
    public string? Prompts { get; set; }

    [Option("prompt-kinds", MetaValue = "A,B",
        HelpText = "Kinds of those captions: single-object, two-objects, counting, colour-attribution. Default all.")]
    public IEnumerable<string> PromptKinds { get; set; } = [];

    [Option("images", MetaValue = "N", HelpText = "Images of each of the two. Default 256.")]
    public int? Images { get; set; }

    [Option("seed", MetaValue = "N", HelpText = "Seed of the first image; the next one has the next seed. Default 1000000, as in tune.")]
    public ulong? Seed { get; set; }

    [Option("json", MetaValue = "FILE", HelpText = "Write the numbers as JSON, too; - writes them to the screen instead of the table.")]
    public string? Json { get; set; }

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        if (Prompts is not null
            && PromptKinds.Any()) throw new UsageError("eval: --prompt-kinds chooses captions; leave it out with --prompts");
        SceneKind[] kinds = [.. PromptKinds.Select(kind => EnumName.Of<SceneKind>("prompt-kinds", kind)!.Value)];
        var source = AdaptedModel.Find(Adapter);
        var (sampling, session) = (ToSampling(source.Options.EvaluationSampling), ToSession());
        var count = Images ?? source.Options.EvaluationImages;
        Require("eval", sampling, session, count is < 2 or > 1_000_000 ? [$"--images: expected 2 to 1000000, got {count}"] : []);
        if (Json is not null and not "-") OutputPlace.RequireFolder("json", Path.GetDirectoryName(Json) ?? "");
        using var policy = source.Open(Model, ToModel(source.Options.ModelOptions));
        var requests = Evaluation.Requests(policy.Model.IsConditional ? HeldOut(source, kinds) : WithoutText(policy.Model), count, Seed
            ?? source.Options.EvaluationSeed);
        using var rewards = RewardSet.Parse(RewardRegistry.Default, [.. Reward],
            [.. requests.Select(request => request.Prompt).Distinct()]);

        using var pipeline = new Pipeline(policy, sampling, session);
        // A deterministic sampler has no density: the divergence is then that of the steps the run was trained on.
        var noisy = (pipeline.Steps.Table is { StepsWithDensity.Count: > 0 } || source.Run is null ? pipeline
            : pipeline.With(source.Options.Sampling)).Noisy();
        EvaluationResult? tuned = null, bare = null;
        var total = count * (Adapter is null ? 1 : 2);
        Work.Show("drawing", total, done =>
        {
            policy.AsBase(() => bare = Evaluation.Run(pipeline, rewards.Parts, requests, null, done, cancellation));
            if (Adapter is not null) tuned = Evaluation.Run(pipeline, rewards.Parts, requests, noisy, n => done(count + n), cancellation);
            return true;
        });
        var comparison = Comparison.Of(rewards, bare!, tuned) with
        {
            Model = Model ?? (source.Run is null ? ModelFolder.Default : source.Options.Model),
            Adapter = Adapter,
            Sampler = pipeline.SamplerName,
            GuidanceScale = pipeline.GuidanceScale,
            Seed = requests[0].Seed,
        };
        if (Json == "-") Terminal.Line(System.Text.Json.JsonSerializer.Serialize(comparison, JsonFile.Indented));
        else EvalScreen.Show(comparison);
        if (Json is not null and not "-") JsonFile.Write(Json, comparison);
        return ExitCode.Done;
    }

    private IReadOnlyList<string> WithoutText(ImageModel model) => Prompts is null ? PromptPool.WithoutText.HeldOut
        : throw new UsageError($"eval: model '{model.Name}' draws without prompts; leave --prompts out");

    private IReadOnlyList<string> HeldOut(AdaptedModel source, SceneKind[] kinds)
    {
        if (Prompts is not null) return PromptList.Read(Prompts).Prompts;
        if (kinds.Length > 0) return PromptPool.Scenes(kinds).HeldOut;
        return source.Run is { } run && File.Exists(run.Prompts) ? JsonFile.Read<PromptPool>(run.Prompts).HeldOut
            : PromptPool.Scenes(Enum.GetValues<SceneKind>()).HeldOut;
    }
}
