using System.Diagnostics;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class ResumeTests
{
    [Theory]
    [InlineData("ddpo", TuningStage.Updating, 3, 1)]
    [InlineData("ddpo", TuningStage.Sampling, 4, 3)]
    [InlineData("ddpo", TuningStage.Evaluating, 4, 3)]
    [InlineData("ddpo", TuningStage.EvaluatingBase, 0, 1)]
    [InlineData("reinforce", TuningStage.Scoring, 2, 2)]
    [InlineData("es", TuningStage.Sampling, 3, 2)]
    [InlineData("d3po", TuningStage.Updating, 3, 1)]
    [InlineData("dpo", TuningStage.Updating, 4, 3)]
    public void Resume_AfterCancellation_GivesTheSameNumbers(string method, TuningStage stage, int epoch, int checkpointEvery)
    {
        using var folder = new TempFolder();
        TuningOptions Options(string output) => (TinyRun.Options(folder, output, method) with { CheckpointEvery = checkpointEvery })
            .With(("AdvantageBaseline", AdvantageBaseline.Prompt));
        TuningRun.Execute(Options("unbroken"), TinyRun.Environment);

        var broken = Options("broken");
        using var stop = new CancellationTokenSource();
        var error = Assert.Throws<TuningInterruptedException>(() => TuningRun.Execute(broken, TinyRun.Environment with
        {
            Progress = progress =>
            {
                if (progress.Stage == stage && progress.Epoch == epoch) stop.Cancel();
            },
        }, stop.Token));
        Assert.Equal(broken.Output, error.Run);
        Assert.False(File.Exists(new RunFolder(broken.Output).Summary));
        if (epoch > 0) Assert.NotNull(Checkpoint.Latest(new RunFolder(broken.Output).Checkpoints));

        var epochs = new List<int>();
        var summary = TuningRun.Resume(broken.Output, TinyRun.Environment with { EpochDone = line => epochs.Add(line.Epoch) });
        Assert.Equal(TinyRun.Result(folder.At("unbroken")), TinyRun.Result(broken.Output), (x, y) =>
            x.Metrics == y.Metrics && x.Adapter.SequenceEqual(y.Adapter));
        var unbroken = JsonFile.Read<RunSummary>(new RunFolder(folder.At("unbroken")).Summary);
        Assert.Equal((unbroken.Reward, unbroken.Kl, unbroken.Ratio), (summary.Reward, summary.Kl, summary.Ratio));
        Assert.True(epochs.Count <= 4 - (Math.Max(0, epoch - 1) / checkpointEvery * checkpointEvery),
            $"did epochs {string.Join(",", epochs)} again");
    }

    [Fact]
    public void Resume_FinishedRun_GivesItsSummary_MoreEpochs_TrainsOn()
    {
        using var folder = new TempFolder();
        var short_ = TinyRun.Options(folder, "short") with { Epochs = 2 };
        var summary = TuningRun.Execute(short_, TinyRun.Environment);
        Assert.Equal(summary.Reward, TuningRun.Resume(short_.Output,
            TinyRun.Environment with { OpenModel = (_, _) => throw new InvalidOperationException("a finished run loads nothing") }).Reward);

        TuningRun.Resume(short_.Output, TinyRun.Environment, epochs: 4);
        TuningRun.Execute(TinyRun.Options(folder, "long"), TinyRun.Environment);
        Assert.Equal(TinyRun.Result(folder.At("long")), TinyRun.Result(short_.Output), (x, y) =>
            x.Metrics == y.Metrics && x.Adapter.SequenceEqual(y.Adapter));
        Assert.Contains("at least 4",
            Assert.Throws<UserError>(() => TuningRun.Resume(short_.Output, TinyRun.Environment, epochs: 3)).Message);
    }

    // The process gets SIGKILL at moments that chance chooses within a run, six times over.
    [Fact]
    [Trait(Soak.Trait, "kills")]
    public void Resume_AfterKills_GivesTheSameNumbers()
    {
        using var folder = new TempFolder();
        var (whole, random, moments) = (folder.At("unbroken"), new Random(), new List<string>());
        Assert.Equal(0, Run(whole, null));
        for (var round = 0; round < Soak.Times(1, 30); round++)
        {
            var killed = folder.At($"killed-{round}");
            foreach (var line in new[] { -1, 0, 2, 5, 8, 11 })
            {
                var delay = random.Next(0, 150);
                moments.Add($"{delay} ms after line {line}");
                Assert.NotEqual(0, Run(killed, process =>
                {
                    while (Lines(killed) < line && !process.HasExited) Thread.Sleep(5);
                    Thread.Sleep(delay);
                }));
            }
            Assert.Equal(0, Run(killed, null));
            Assert.True(TinyRun.Result(whole).Metrics == TinyRun.Result(killed).Metrics, string.Join(", ", moments));
            Assert.Equal(TinyRun.Result(whole).Adapter, TinyRun.Result(killed).Adapter);
        }
    }

    private static int Lines(string output)
    {
        var path = new RunFolder(output).Metrics;
        if (!File.Exists(path)) return Directory.Exists(output) ? 0 : -1;
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd().Count(symbol => symbol == '\n');
    }

    private static int Run(string output, Action<Process>? untilKilled)
    {
        using var process = Process.Start(new ProcessStartInfo("dotnet")
        {
            ArgumentList = { typeof(ResumeTests).Assembly.Location, "tune",
            TinyRun.Model, output }
        })!;
        if (untilKilled is not null)
        {
            untilKilled(process);
            process.Kill();
        }
        Assert.True(process.WaitForExit(TimeSpan.FromMinutes(5)));
        return process.ExitCode;
    }
}
