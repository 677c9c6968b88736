using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Preferences;
using OrtRlhf.Preferences;
using OrtRlhf.Rewards.Training;
using OrtRlhf.Tests;

namespace OrtRlhf.Rewards.Tests;

/// <summary>Reward models on a tiny CLIP of random weights, whose features tell bright images from dark ones all the same.</summary>
public sealed class RewardTrainingTests
{
    [Fact]
    public void Run_PredictsHeldOutChoices_AndItsFileScoresLikeIt()
    {
        using var folder = new TempFolder();
        var judged = Judged(150);
        var summary = RewardTraining.Run(judged, new() { Clip = TinyModel.WriteClip(folder.At("clip")), Session = new() { Threads = 1 } },
            folder.At("reward"));
        Assert.Equal((120, 30), (summary.Trained, summary.Accuracy.N));
        Assert.InRange(summary.Accuracy.Mean, 0.8, 1);
        Assert.InRange(summary.Calibration.Error, 0, 0.25);
        Assert.Equal(30, summary.Calibration.Bins.Sum(bin => bin.N));
        Assert.Equal(summary.Accuracy, JsonFile.Read<RewardModelSummary>(folder.At("reward", "reward.json")).Accuracy);

        var reward = RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}");
        var scores = reward.Score(judged.Candidates);
        Assert.InRange(judged.Pairs.Average(p => scores[p.Preferred] > scores[p.Rejected] ? 1.0 : 0), 0.8, 1);
        Assert.NotEqual(scores[0], reward.Score([judged.Candidates[0] with { Prompt = "zzz" }])[0]); // the prompt takes part
    }

    // Patches are brighter and darker in turn, the average picture is always the same: what varies from patch to patch tells.
    [Fact]
    public void Run_ContrastBetweenPatches_IsLearned()
    {
        using var folder = new TempFolder();
        var judged = Judged(80, Contrast);
        var summary = RewardTraining.Run(judged, new() { Clip = TinyModel.WriteClip(folder.At("clip")), Session = new() { Threads = 1 } },
            folder.At("reward"));
        Assert.InRange(summary.Accuracy.Mean, 0.8, 1);
    }

    [Fact]
    public void Features_AreSpreadOfFourDepthsPooledStateAndProducts_OfTheirBlocks()
    {
        using var folder = new TempFolder();
        var clip = new ClipFeatures(TinyModel.WriteClip(folder.At("clip")), withText: true);
        var rows = clip.Of([.. Judged(2).Candidates], new() { Threads = 1 });
        Assert.All(rows, row => Assert.Equal(clip.Blocks.Sum(), row.Length));
        var (products, cosine) = (rows[0][clip.Blocks[0]..^1], rows[0][^1]);
        Assert.Equal(products.Sum(), cosine, 1e-5);
        Assert.InRange(cosine, -1, 1);
    }

    [Fact]
    public void Head_ExportedScores_AreItsOwn()
    {
        using var folder = new TempFolder();
        var judged = Judged(60);
        var clip = new ClipFeatures(TinyModel.WriteClip(folder.At("clip")), withText: true);
        var features = clip.Of(judged.Candidates, new() { Threads = 1 });
        var head = RewardHead.Fit([.. judged.Pairs], features, clip.Blocks, null);
        Directory.CreateDirectory(folder.At("reward"));
        clip.Write(folder.At("reward"), head);
        var scores = RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}").Score(judged.Candidates);
        Assert.InRange(scores.Max() - scores.Min(), 1, 1000);
        foreach (var (i, row) in features.Index()) Assert.Equal(head.Score(row), scores[i], 1e-5 * Math.Max(1, Math.Abs(scores[i])));
    }

    // A head that is held back leaves something to the adapters.
    [Fact]
    public void Run_LoraRank_AdaptersOfTheBestEpochAreInTheFile()
    {
        using var folder = new TempFolder();
        var judged = Judged(60, Contrast);
        RewardTrainingOptions options = new()
        {
            Clip = TinyModel.WriteClip(folder.At("clip")),
            LoraRank = 2,
            LearningRate = 0.05,
            Ridge = 0.3,
            Session = new() { Threads = 1 }
        };
        var seen = 0;
        var summary = RewardTraining.Run(judged, options, folder.At("reward"), done => seen = Math.Max(seen, done));
        Assert.InRange(summary.Epoch, 1, 4);
        Assert.InRange(seen, judged.Candidates.Count + 1, 1.1 * RewardTraining.Work(judged, options));
        var scores = RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}").Score(judged.Candidates);
        var plain = RewardTraining.Run(judged, options with { LoraRank = 0 }, folder.At("plain"));
        Assert.Equal(0, plain.Epoch);
        Assert.InRange(summary.TrainedAccuracy.Mean, plain.TrainedAccuracy.Mean + 0.05, 1);
        Assert.True(Math.Abs(scores[0] - RewardRegistry.Default.Parse($"onnx:{folder.At("plain")}").Score(judged.Candidates)[0]) > 1e-3);
        Assert.Equal(summary.Accuracy.N + summary.Trained, judged.Pairs.Count);
        // The file's scores are those that were judged, adapters and all.
        var right = judged.Pairs.Sum(p => scores[p.Preferred] > scores[p.Rejected] ? 1 : 0);
        Assert.Equal((summary.Accuracy.Mean * summary.Accuracy.N) + (summary.TrainedAccuracy.Mean * summary.Trained), right, 1e-3);
    }

    [Fact]
    public void Adapters_AreTrainedTowardsThePreferred_ByTheFormulaOfBradleyAndTerry()
    {
        using var folder = new TempFolder();
        var judged = Judged(40);
        var clip = new ClipFeatures(TinyModel.WriteClip(folder.At("clip")), withText: true);
        RewardTrainingOptions options = new() { Clip = "", LoraRank = 2, Epochs = 4, LearningRate = 0.01, Session = new() { Threads = 1 } };
        var features = clip.Of(judged.Candidates, options.Session);
        var head = RewardHead.Fit([.. judged.Pairs], features, clip.Blocks, 1);
        var before = judged.Pairs.Average(p =>
            Math.Log(BradleyTerry.Probability(head.Score(features[p.Preferred]) - head.Score(features[p.Rejected]))));
        var (epoch, temperature) = ClipAdapters.Train(clip, head, judged.Candidates, [.. judged.Pairs], [.. judged.Pairs], options, null,
            default);
        Assert.InRange(epoch, 1, 4);
        var (adapted, cooled) = (clip.Of(judged.Candidates, options.Session), head.Cooled(temperature));
        Assert.InRange(judged.Pairs.Average(p =>
            Math.Log(BradleyTerry.Probability(cooled.Score(adapted[p.Preferred]) - cooled.Score(adapted[p.Rejected])))), before + 0.01, 0);
    }

    [Fact]
    public void Head_TakesTheRidgeAndTemperatureThatLeftOutChoicesAskFor()
    {
        // One feature decides, with many mistakes; nine say nothing.
        var numbers = new float[10 * 800];
        new Philox(22, 0, 0, 0).FillGaussian(numbers);
        var features = numbers.Chunk(10).ToArray();
        var chances = new float[400];
        new Philox(23, 0, 0, 0).FillUniform(chances);
        RatedPair[] pairs = [.. chances.Select((c, k) => c < BradleyTerry.Probability(features[2 * k][0] - features[(2 * k) + 1][0])
            ? new RatedPair(2 * k, (2 * k) + 1) : new((2 * k) + 1, 2 * k))];
        var head = RewardHead.Fit(pairs, features, [10], null);
        Assert.Equal(1, head.Weight[0] * head.Scale[0], 0.3); // the true model's
        Assert.All(head.Weight.Skip(1).Zip(head.Scale.Skip(1)), w => Assert.InRange(w.First * w.Second, -0.2, 0.2));
        Assert.InRange(head.Temperature, 0.8, 1.25);
        // Held far too small, its scores are brought back by the temperature.
        var small = RewardHead.Fit(pairs, features, [10], 10);
        Assert.InRange(small.Temperature, 1e-4, 0.02);
        Assert.Equal(1, small.Weight[0] * small.Scale[0], 0.3);
        // A feature of a block of one is held by less than one of many.
        var (alone, among) = (RewardHead.Fit(pairs, features, [1, 9], 0.1), RewardHead.Fit(pairs, features, [10], 0.1));
        Assert.Equal(among.Scale[0] * Math.Sqrt(10), alone.Scale[0], 1e-4);
    }

    // Three experts of the same pictures: quality and compatibility find the brighter one better, taste the darker. Which way the one
    // preference goes is a matter of weights.
    [Fact]
    public void Run_ExpertsOfOneStore_BecomeOnePreferenceByTheirWeights()
    {
        using var folder = new TempFolder();
        using var store = PreferenceStore.Open(folder.At("store"), create: true);
        var judged = Judged(40);
        Candidate[] candidates = [.. judged.Candidates.Select(c => store.Folder.Write(c.Image, c.Prompt))];
        store.Add(candidates);
        (string Aspect, double Weight)[] experts = [("quality", 1), ("compatibility", 1), ("taste", 1)];
        store.Add([.. judged.Pairs.SelectMany((p, k) => experts.Select(e => new Choice($"{e.Aspect}{k}", candidates[p.Preferred].Prompt,
            [candidates[p.Preferred].Id, candidates[p.Rejected].Id], e.Aspect == "taste" ? [1, 0] : [0, 1], "ann", ChoiceMode.Pair,
                DateTimeOffset.UnixEpoch, null, e.Weight, e.Aspect)))]);
        var clip = TinyModel.WriteClip(folder.At("clip"));

        Assert.InRange(Right("all", null), 0.8, 1); // two to one
        Assert.InRange(Right("taste", new() { ["taste"] = 3 }), 0, 0.2);
        Assert.InRange(Right("alone", new() { ["quality"] = 0, ["compatibility"] = 0 }), 0, 0.2);
        var unknown = Assert.Throws<UserError>(() => Right("unknown", new() { ["tast"] = 1 }));
        Assert.Contains("by or about 'tast'; there are ann, compatibility, quality, taste", unknown.Message);

        double Right(string name, Dictionary<string, double>? weights)
        {
            RewardTraining.Run(JudgedImages.Of(PreferenceSelection.Read(store, weights)),
                new() { Clip = clip, Ridge = 0.01, Session = new() { Threads = 1 } }, folder.At(name));
            var scores = RewardRegistry.Default.Parse($"onnx:{folder.At(name)}").Score(judged.Candidates);
            return judged.Pairs.Average(p => scores[p.Preferred] > scores[p.Rejected] ? 1.0 : 0);
        }
    }

    [Fact]
    public void Run_WithoutPrompts_TakesImagesAlone()
    {
        using var folder = new TempFolder();
        var judged = Judged(40);
        judged = judged with { Candidates = [.. judged.Candidates.Select(c => c with { Prompt = "" })] };
        RewardTraining.Run(judged, new() { Clip = TinyModel.WriteClip(folder.At("clip")), Ridge = 0.1 }, folder.At("reward"));
        Assert.Equal(80, RewardRegistry.Default.Parse($"onnx:{folder.At("reward")}").Score(judged.Candidates).Length);
    }

    [Fact]
    public void Run_TooFewChoices_SaysHowMany()
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<UserError>(() => RewardTraining.Run(Judged(4), new() { Clip = "none" }, folder.At("reward")));
        Assert.Contains("expected at least 10 choices, got 4", error.Message);
    }

    private static float Contrast(float noise, float strength, int x, int y) =>
        118 + (20 * noise) + (((x / 8) + (y / 8)) % 2 == 0 ? 80 * strength : -80 * strength);

    // The brighter, or otherwise stronger, of two noisy images of a prompt is preferred.
    private static JudgedImages Judged(int pairs, Func<float, float, int, int, float>? draw = null)
    {
        draw ??= (noise, strength, x, y) => (90 * noise) + (160 * strength);
        var strengths = new float[2 * pairs];
        new Philox(1, 1, 0, 0).FillUniform(strengths);
        var candidates = strengths.Select((strength, i) =>
        {
            var noise = new float[16 * 16 * 3];
            new Philox(1, 0, (uint)i, 0).FillUniform(noise);
            return new RewardInput(new RgbImage(16, 16, [.. noise.Select((value, k) => (byte)draw(value, strength, k / 3 % 16, k / 48))]),
                $"prompt {(char)('a' + (i / 2 % 26))}{(char)('a' + (i / 52))}", i);
        }).ToArray();
        return new(candidates, [.. Enumerable.Range(0, pairs).Select(k =>
            strengths[2 * k] > strengths[(2 * k) + 1] ? new RatedPair(2 * k, (2 * k) + 1) : new((2 * k) + 1, 2 * k))]);
    }
}
