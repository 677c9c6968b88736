using System.Globalization;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards;
using OrtRlhf.Rewards.Training;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Prompts;

namespace OrtRlhf.Cli.Commands;

/// <summary>Fits a reward model to preferences.</summary>
[Verb("reward train", HelpText = "Fits a reward model to preferences: a Bradley-Terry head on CLIP's features of image and prompt. "
    + "Writes a folder that any --reward takes as onnx:FOLDER, "
    + "and says how well it predicts choices that were held out and whether its probabilities are calibrated. Learns from people's "
        + "choices (--preferences), or from those that a reward makes "
    + "in their place among images that MODEL draws.")]
[Example("from what people chose on the page of 'ortrlhf label'",
    "reward train --preferences artifacts/preferences --output artifacts/my-taste")]
[Example("and tune towards it", "tune --reward onnx:artifacts/my-taste")]
[Example("with a CLIP of your own, some experts counting more",
    "reward train --preferences artifacts/preferences --clip my-clip --expert-weights quality=1,taste=0.5 --output my-taste")]
[Example("try it without people", "reward train --reward jpeg-compressibility --choices 625 --output artifacts/learned-size")]
internal sealed class RewardTrainCommand : ModelCommand
{
    private const int Bar = 20, Candidates = 4;

    [Option("preferences", MetaValue = "STORE",
        HelpText = "People's choices: a folder that 'ortrlhf label' made, or a server. Images alone are enough.")]
    public string? Preferences { get; set; }

    [Option("expert-weights", MetaValue = "A=X,B=Y",
        HelpText = "Factors on those choices by what was judged (quality=1,taste=0.5) or by rater; 0 leaves them out.")]
    public IReadOnlyDictionary<string, double>? ExpertWeights { get; set; }

    [Option("reward", MetaValue = "SUM",
        HelpText = "Without --preferences: the reward that chooses in a person's place, see the list below.")]
    public string? Reward { get; set; }

    [Option("choices", MetaValue = "N", HelpText = "Choices that it makes among four images of each prompt. Default 625.")]
    public int Choices { get; set; } = 625;

    [Option("rater", MetaValue = "NAME", HelpText = "Which of them: best-worst, one a prompt and plain to see, or top-bottom, the second "
        + "against the third as well, from half as many images. Default top-bottom.")]
    public string? Rater { get; set; }

    [Option("experts", MetaValue = "NAME", HelpText = "How the parts of that reward come to one opinion: sum, or vote, where each ranks "
        + "the images and ranks are summed by weight. Default sum.")]
    public string? Experts { get; set; }

    [Option("prompts", MetaValue = "FILE", HelpText = "Prompts to draw for it. Default captions of drawn scenes.")]
    public string? Prompts { get; set; }

    [Option("adapter", MetaValue = "FILE", HelpText = "Adapter to draw them with.")]
    public string? Adapter { get; set; }

    [Option("clip", MetaValue = "DIR",
        HelpText = "CLIPModel whose features are looked at, as transformers writes it. Default models/shapes-clip, which ships.")]
    public string? Clip { get; set; }

    [Option("held-out", MetaValue = "X", HelpText = "Share of the prompts whose choices it is judged by. Default 0.2.")]
    public double? HeldOut { get; set; }

    [Option("ridge", MetaValue = "X", HelpText = "How strongly weights are held small. Default by cross-validation.")]
    public double? Ridge { get; set; }

    [Option("lora-rank", MetaValue = "N", HelpText = "Train low-rank adapters on CLIP's image tower, too; those of the epoch that makes "
        + "a fifth of the choices, left out, most likely are kept, if any. Default 0, none: some hundreds of choices seldom gain by them.")]
    public int? LoraRank { get; set; }

    [Option("epochs", MetaValue = "N", HelpText = "With --lora-rank: times that all choices are trained on. Default 4.")]
    public int? Epochs { get; set; }

    [Option("learning-rate", MetaValue = "X", HelpText = "With --lora-rank: peak learning rate. Default 0.0005.")]
    public double? LearningRate { get; set; }

    [Option("seed", MetaValue = "N", HelpText = "Seed of the images and of what is held out. Default 0.")]
    public ulong Seed { get; set; }

    [Option('o', "output", Required = true, MetaValue = "DIR",
        HelpText = "Folder for the reward: model.onnx, what prepares its inputs, reward.json.")]
    public string Output { get; set; } = "";

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        if (Preferences is null == Reward is null) throw new UsageError(
            "reward train: expected either --preferences STORE, or --reward SUM to choose in people's place");
        var session = ToSession();
        var clip = Clip ?? ShippedModel.Find("models/shapes-clip", "config.json")
            ?? throw new UserError("models/shapes-clip is not there; name a CLIP with --clip DIR");
        var options = new RewardTrainingOptions { Clip = clip, Seed = Seed, Ridge = Ridge, Session = session };
        options = options with
        {
            HeldOut = HeldOut ?? options.HeldOut,
            LoraRank = LoraRank ?? options.LoraRank,
            Epochs = Epochs ?? options.Epochs,
            LearningRate = LearningRate ?? options.LearningRate,
        };
        if (options.LoraRank == 0 && (Epochs is not null || LearningRate is not null)) throw new UsageError(
            "reward train: --epochs and --learning-rate are of adapters; add --lora-rank N");
        Require("reward train", ToSampling(new()), session, [.. options.Faults(), .. Choices is < 10 or > 1_000_000
            ? [$"--choices: expected 10 to 1000000, got {Choices}"] : Array.Empty<string>()]);
        OutputPlace.RequireFolder("output", Output);
        var judged = Preferences is null ? Drawn(cancellation) : Stored(Preferences, cancellation);
        var summary = Work.Show("looking", RewardTraining.Work(judged, options), done =>
            RewardTraining.Run(judged, options, Output, done, cancellation));
        Show(summary);
        return ExitCode.Done;
    }

    private JudgedImages Stored(string place, CancellationToken cancellation)
    {
        using var store = PreferenceStore.Open(place);
        return JudgedImages.Of(PreferenceSelection.Read(store, ExpertWeights), cancellation);
    }

    private JudgedImages Drawn(CancellationToken cancellation)
    {
        var (experts, rule) = (EnumName.Of<ExpertRule>("experts", Experts) ?? ExpertRule.Sum, EnumName.Of<RaterRule>("rater", Rater)
            ?? RaterRule.TopBottom);
        var source = AdaptedModel.Find(Adapter);
        using var policy = source.Open(Model, ToModel(source.Options.ModelOptions));
        var pool = !policy.Model.IsConditional ? PromptPool.WithoutText : Prompts is null ? PromptPool.Scenes(Enum.GetValues<SceneKind>())
            : PromptPool.Read(Prompts, null, Seed);
        using var pipeline = new Pipeline(policy, ToTrainedSampling(Model, source), ToSession());
        using var reward = RewardRegistry.Default.Parse(Reward!, pool.All, []);
        // Ties are no choices: prompts are drawn until there are enough.
        var (inputs, pairs) = (new List<RewardInput>(), new List<RatedPair>());
        Work.Show("choices", Choices, done =>
        {
            for (var round = 0u; pairs.Count < Choices; round++)
            {
                var prompts = Math.Max(1, pipeline.Options.BatchSize / Candidates);
                SampleRequest[] requests = [.. Enumerable.Range(0, prompts * Candidates).Select(i =>
                    new SampleRequest(pool.Draw(Seed, round, (uint)(i / Candidates)), Seed, round, (uint)i))];
                RewardInput[] drawn = [.. pipeline.Sample(requests, cancellation: cancellation).Select((s, i) =>
                    new RewardInput(s.Image, s.Prompt, inputs.Count + i))];
                var rated = SyntheticRater.Rate(reward, reward.ScoreParts(drawn, cancellation), Candidates, rule, experts);
                if (rated.Count == 0 && round > 10 && pairs.Count == 0) throw new UserError(
                    $"reward '{Reward}': gives all images of a prompt the same score, so there is nothing to choose");
                pairs.AddRange(rated.Select(p => new RatedPair(p.Preferred + inputs.Count, p.Rejected + inputs.Count, p.Weight)));
                inputs.AddRange(drawn);
                done(Math.Min(Choices, pairs.Count));
            }
            return true;
        });
        return new(inputs, [.. pairs.Take(Choices)]);
    }

    private void Show(RewardModelSummary summary)
    {
        var (accuracy, trained) = (summary.Accuracy, summary.TrainedAccuracy);
        Terminal.Line(string.Create(CultureInfo.InvariantCulture,
            $"predicts {100 * accuracy.Mean:0.0}% ± {100 * accuracy.Stderr:0.0} of {accuracy.N} held-out choices "
            + $"({100 * trained.Mean:0.0}% of the {trained.N} it was fitted to; ridge {summary.Ridge}, temperature "
            + $"{summary.Temperature:0.00}{Adapters(summary.Epoch)})"));
        Terminal.Line(FormattableString.Invariant(
            $"calibration error {summary.Calibration.Error:0.000}; of held-out choices it was this sure of, so many came true:"));
        foreach (var bin in summary.Calibration.Bins.Where(bin => bin.N > 0))
        {
            var bar = new string('#', (int)Math.Round(Bar * bin.Accuracy)).PadRight(Bar, '.');
            Terminal.Line(string.Create(CultureInfo.InvariantCulture,
                $"  {100 * bin.From,3:0}-{100 * bin.To,3:0}%  {bar} {100 * bin.Accuracy,5:0.0}%  mean {100 * bin.Confidence:0.0}%, "
                + $"{bin.N} choices"));
        }
        Terminal.Line($"reward  {Output} (use it as --reward onnx:{Output})");
    }

    private string Adapters(int epoch) => LoraRank is null or 0 ? "" : epoch == 0
        ? "; no adapters, choices left out were no likelier with them" : $"; adapters of epoch {epoch}";
}
