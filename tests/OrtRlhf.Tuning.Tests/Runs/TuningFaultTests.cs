using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class TuningFaultTests
{
    [Fact]
    public void Execute_UnknownReward_ThrowsForUser_NamesTheKnown()
    {
        using var folder = new TempFolder();
        var error = TinyRun.Fails(TinyRun.Options(folder, "run") with { Reward = "brightnes" });
        Assert.Contains("unknown reward 'brightnes'", error.Message);
        Assert.Contains("jpeg-compressibility", error.Message);
        Assert.Contains("unknown reward 'x' to watch", TinyRun.Fails(TinyRun.Options(folder, "run") with { Watch = ["x"] }).Message);
        Assert.False(Directory.Exists(folder.At("run")));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void Execute_RewardNotFinite_ThrowsForUser_CheckpointIsIntact(float bad)
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run");
        var (calls, broken) = (0, true);
        // 8 images before the first epoch, 8 in each: the third epoch meets it.
        var environment = TinyRun.Environment with
        {
            Rewards = TinyRun.Environment.Rewards.With(TinyRun.Reward("brightness", input =>
                Interlocked.Increment(ref calls) > 26 && broken ? bad : input.Image.Pixels[0])),
        };
        var error = TinyRun.Fails(options, environment);
        Assert.Contains("reward 'brightness': sample", error.Message);
        Assert.Contains($"expected a finite score, got {bad}", error.Message);
        var run = new RunFolder(options.Output);
        Assert.Equal(2, Checkpoint.Latest(run.Checkpoints)!.Epoch);
        Assert.Equal(2, JsonLines<EpochMetrics>.Read(run.Metrics).Count);

        broken = false;
        TuningRun.Resume(options.Output, environment);
        TuningRun.Execute(options with { Output = folder.At("whole") }, environment);
        Assert.Equal(TinyRun.Result(folder.At("whole")).Metrics, TinyRun.Result(options.Output).Metrics);
    }

    [Theory]
    [InlineData("a cat\n\na dog\n", "line 2: the line is empty")]
    [InlineData("a cat\na d\0og\n", "line 2: the prompt contains a NUL character")]
    [InlineData("", "is empty")]
    public void Execute_BadPromptFile_ThrowsForUser(string text, string expected)
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("bad.txt"), text);
        Assert.Contains(expected, TinyRun.Fails(TinyRun.Options(folder, "run") with { Prompts = folder.At("bad.txt") }).Message);
        Assert.False(Directory.Exists(folder.At("run")));
    }

    [Fact]
    public void Execute_HeldOutPromptIsTrainedOn_ThrowsForUser()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("held.txt"), "a bird\na red hat\n");
        Assert.Contains("\"a red hat\" is also in",
            TinyRun.Fails(TinyRun.Options(folder, "run") with { HeldOutPrompts = folder.At("held.txt") }).Message);
    }

    [Theory]
    [InlineData("ddpo")]
    [InlineData("reinforce")]
    public void Execute_EtaZero_ThrowsForUser(string method)
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run", method);
        Assert.Contains("`Eta`: expected more than 0, got 0",
            TinyRun.Fails(options with { Sampling = options.Sampling with { Eta = 0 } }).Message);
        Assert.False(Directory.Exists(folder.At("run")));
    }

    [Fact]
    public void Execute_EtaZero_EsRuns_WithoutKl()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run", "es");
        Assert.Null(TuningRun.Execute(options with { Epochs = 1, Sampling = options.Sampling with { Eta = 0 } }, TinyRun.Environment).Kl);
    }

    [Fact]
    public void Execute_ManyFaults_AreAllNamed()
    {
        using var folder = new TempFolder();
        var message = TinyRun.Fails(TinyRun.Options(folder, "run") with
        {
            Epochs = 0,
            PromptsPerEpoch = 3,
            LearningRate = double.NaN,
            Ema = 1
        }).Message;
        Assert.All(["`Epochs`", "`PromptsPerEpoch`", "`LearningRate`", "`Ema`"], option => Assert.Contains(option, message));
    }

    [Theory]
    [InlineData("ddpo")]
    [InlineData("reinforce")]
    [InlineData("es")]
    public void Faults_OfDefaults_AreNone_OfExtremes_NeverThrow(string method)
    {
        var options = TuningMethods.Find(method)!.New();
        Assert.Empty(options.Faults());
        Assert.Empty((options with { Images = 16, PromptsPerEpoch = 1 }).With(("Population", 16)).Faults());
        foreach (var n in new[] { int.MinValue, -1, 0, int.MaxValue })
        {
            var extreme = (options with
            {
                Epochs = n,
                Images = n,
                PromptsPerEpoch = n,
                LoraRank = n,
                EvaluationImages = n,
                SampleImages = n,
                LearningRateDecay = Learning.Optimizers.LearningRateDecay.Cosine,
            }).With(("Population", n), ("UpdatesPerPass", n), ("Passes", n), ("MicroBatch", n),
                ("AdvantageBaseline", AdvantageBaseline.Group));
            Assert.Contains(extreme.Faults(), fault => fault.StartsWith("`Epochs`: expected 1 to 1000000, got", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Execute_SolverWithoutDensity_ThrowsForUser()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run");
        Assert.Contains("`Sampler`: expected ddim",
            TinyRun.Fails(options with { Sampling = options.Sampling with { Sampler = SamplerKind.DpmSolver } }).Message);
    }

    [Fact]
    public void Execute_FolderHasARun_ThrowsForUser_LeavesIt()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with { Epochs = 1 };
        TuningRun.Execute(options, TinyRun.Environment);
        var before = File.ReadAllBytes(new RunFolder(options.Output).Metrics);
        Assert.Contains("there is a run in this folder", TinyRun.Fails(options with { Seed = 9 }).Message);
        Assert.Equal(before, File.ReadAllBytes(new RunFolder(options.Output).Metrics));
    }

    [Fact]
    public void Resume_NoRun_ThrowsForUser()
    {
        using var folder = new TempFolder();
        Assert.Contains("options.json is missing",
            Assert.Throws<UserError>(() => TuningRun.Resume(folder.Path, TinyRun.Environment)).Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Resume_CheckpointOfAnotherRun_ThrowsForUser(bool rank)
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with { Epochs = 1 };
        TuningRun.Execute(options, TinyRun.Environment);
        var other = rank ? options with { LoraRank = 3 } : options with { LoraTargets = ["to_q"] };
        JsonFile.Write(new RunFolder(options.Output).Options, other with { Epochs = 2 });
        Assert.Throws<UserError>(() => TuningRun.Resume(options.Output, TinyRun.Environment));
    }

    // On Linux /dev/full takes the place of a file: every write to it finds the disk full.
    [Fact]
    public void Execute_FullDisk_ThrowsForUser_CheckpointIsIntact_ResumesWithSpace()
    {
        if (!OperatingSystem.IsLinux()) return;
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run");
        var run = new RunFolder(options.Output);
        Directory.CreateDirectory(run.Root);
        File.CreateSymbolicLink(run.Metrics, "/dev/full");
        var error = TinyRun.Fails(options);
        Assert.Contains("metrics.jsonl: the disk is full", error.Message);
        Assert.Equal(0, Checkpoint.Latest(run.Checkpoints)!.Epoch);

        File.Delete(run.Metrics);
        TuningRun.Resume(options.Output, TinyRun.Environment);
        TuningRun.Execute(options with { Output = folder.At("whole") }, TinyRun.Environment);
        Assert.Equal(TinyRun.Result(folder.At("whole")).Metrics, TinyRun.Result(options.Output).Metrics);
    }
}
