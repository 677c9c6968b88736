using System.Diagnostics;
using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Cli.Tests;

public class TuneTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void Run_TellsOfEpochsAndResult_AdapterIsSampledAndJudgedAsTrained()
    {
        using var folder = new TempFolder();
        var output = Cli.Run(TinyTune.Arguments(model.Path, folder, "run")).Succeeds().Out;
        Assert.Matches(@"\nevaluating the base model on 4 held-out images\nbase +reward -?\d", output);
        Assert.Matches(@"\nepoch 2/2  reward -\d.* images/s  .* left\n", output);
        Assert.Matches(@"jpeg-compressibility +-\d+\.\d+ ± \d", output);
        var run = new RunFolder(folder.At("run"));
        Assert.Contains($"report  {run.Report}\n", output);
        Assert.All([run.Report, run.Summary, Path.Combine(run.Adapter, "adapter.safetensors")], file =>
            Assert.True(File.Exists(file), file));
        Assert.DoesNotContain('\u001b', output);

        var adapter = Path.Combine(run.Adapter, "adapter.onnx_adapter");
        Cli.Run("eval", "--adapter", adapter, "--json", folder.At("eval.json"), "--threads", "1").Succeeds();
        var (judged, summary) = (JsonNode.Parse(File.ReadAllText(folder.At("eval.json")))!, JsonFile.Read<RunSummary>(run.Summary));
        var reward = judged["rewards"]!["jpeg-compressibility"]!;
        Assert.Equal(summary.Reward.Before.Mean, (double)reward["base"]!["mean"]!, 6);
        Assert.Equal(summary.Reward.After.Mean, (double)reward["adapter"]!["mean"]!, 6);
        Assert.Equal(summary.Reward.After.Mean - summary.Reward.Before.Mean, (double)reward["difference"]!["mean"]!, 6);
        Assert.Equal(summary.Kl!.Value, (double)judged["kl"]!, 6);

        Cli.Run("sample", "--adapter", adapter, "--prompt", "a cat", "--output", folder.At("tuned"), "--threads", "1").Succeeds();
        Cli.Run("sample", model.Path, "--steps", "2", "--prompt", "a cat", "--output", folder.At("base"), "--threads", "1").Succeeds();
        Assert.NotEqual(File.ReadAllBytes(folder.At("base", "0001-a-cat-0.png")),
            File.ReadAllBytes(folder.At("tuned", "0001-a-cat-0.png")));
    }

    [Fact]
    public void ClipRewards_RunEndToEnd()
    {
        using var folder = new TempFolder();
        var clip = TinyModel.WriteClip(folder.At("clip"));
        SafetensorsFile.Write(folder.At("head.safetensors"), new Dictionary<string, Tensor>
        {
            ["weight"] = Tensor.Of(new float[] { 1, 2, 3,
            4, 5, 6, 7, 8 }, 1, 8),
            ["bias"] = Tensor.Of([5f], 1)
        });
        var expression = $"clip-score:{clip}+0.5*aesthetic:{folder.At("head.safetensors")}#clip={clip} - 0.1*pick-score:{clip}";
        Cli.Run([.. TinyTune.Arguments(model.Path, folder, "run", reward: expression), "--watch", "jpeg-compressibility"]).Succeeds();
        var run = new RunFolder(folder.At("run"));
        var summary = JsonFile.Read<RunSummary>(run.Summary);
        Assert.Equal(expression, summary.Reward.Name);
        Assert.Equal(["aesthetic", "clip-score", "jpeg-compressibility", "pick-score"],
            summary.Rewards.Keys.Select(name => name.Split(':')[0]).Order());
        Assert.All(summary.Rewards.Values, score => Assert.True(double.IsFinite(score.After.Mean)));
        Assert.NotEqual(summary.Reward.Before.Mean, summary.Reward.After.Mean);
        Assert.Contains("clip-score:", File.ReadAllText(run.Report));
        Assert.Contains("ortrlhf tune --resume ", File.ReadAllText(run.Report));
        Cli.Run("tune", "--resume", folder.At("run"), "--epochs", "3").Succeeds();
        Cli.Run("eval", model.Path, "--adapter", Path.Combine(run.Adapter, "adapter.onnx_adapter"), "--reward", $"clip-score:{clip}",
            "--json", folder.At("eval.json"), "--threads", "1").Succeeds();
        Cli.Run(TinyTune.Arguments(model.Path, folder, "other", reward: $"clip-score:{folder.At("none")}"))
            .FailsWith(1, "reward 'clip-score:", "no folder");
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public void Signal_KeepsTheCheckpoint_SaysHowToResume_ResumesToTheSameNumbers(string signal)
    {
        if (OperatingSystem.IsWindows()) return;
        using var folder = new TempFolder();
        using var process = Cli.Start(TinyTune.Arguments(model.Path, folder, "run", epochs: 200));
        while (process.StandardOutput.ReadLine() is { } line && !line.StartsWith("epoch 2/", StringComparison.Ordinal)) continue;
        Process.Start("kill", ["-" + signal, $"{process.Id}"]).WaitForExit();
        var stopped = Cli.Finish(process);
        Assert.Equal(1, stopped.ExitCode);
        Assert.Matches(
            $@"^interrupted; the checkpoint after epoch \d+ of 200 is kept\. Continue with 'ortrlhf tune --resume {folder.At("run")}'\n$",
            stopped.Error);
        if (signal != "INT") return; // from here on both are the same
        var epochs = Checkpoint.Latest(folder.At("run", "checkpoints"))!.Epoch + 2;

        Cli.Run("tune", "--resume", folder.At("run"), "--epochs", $"{epochs}").Succeeds();
        Cli.Run(TinyTune.Arguments(model.Path, folder, "whole", epochs)).Succeeds();
        Assert.Equal(File.ReadAllText(folder.At("whole", "metrics.jsonl")), File.ReadAllText(folder.At("run", "metrics.jsonl")));
    }

    [Fact]
    public void FullDisk_IsOneLine_TheCheckpointIsIntact()
    {
        if (!OperatingSystem.IsLinux()) return;
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder.At("run"));
        File.CreateSymbolicLink(folder.At("run", "metrics.jsonl"), "/dev/full");
        Cli.Run(TinyTune.Arguments(model.Path, folder, "run")).FailsWith(1, "metrics.jsonl: the disk is full");
        Assert.Equal(0, Checkpoint.Latest(folder.At("run", "checkpoints"))!.Epoch);
    }

    [Fact]
    public void BadReward_IsOneLine()
    {
        using var folder = new TempFolder();
        Cli.Run(TinyTune.Arguments(model.Path, folder, "run", reward: "jpeg-compresibility"))
            .FailsWith(1, "unknown reward 'jpeg-compresibility'", "known are aesthetic, clip-score, ");
        Cli.Run(TinyTune.Arguments(model.Path, folder, "run", reward: "prompt-alignment"))
            .FailsWith(1, "reward 'prompt-alignment': cannot score images of the prompt");
        Cli.Run(TinyTune.Arguments(model.Path, folder, "run", reward: "1e300*jpeg-compressibility"))
            .FailsWith(1, "expected a finite sum, got -Infinity");
    }

    [Theory]
    [InlineData("a cat\n\na dog\n", "line 2: the line is empty")]
    [InlineData("a cat\na d\0og\n", "line 2: the prompt contains a NUL character")]
    public void BadPromptFile_IsOneLine_NothingIsBegun(string text, string message)
    {
        using var folder = new TempFolder();
        var arguments = TinyTune.Arguments(model.Path, folder, "run");
        File.WriteAllText(folder.At("prompts.txt"), text);
        Cli.Run(arguments).FailsWith(1, "prompts.txt, " + message);
        Assert.False(Directory.Exists(folder.At("run")));
    }

    [Fact]
    public void NoDensity_IsOneLine_EsTakesIt()
    {
        using var folder = new TempFolder();
        string[] arguments = [.. TinyTune.Arguments(model.Path, folder, "run", epochs: 1), "--eta", "0"];
        Cli.Run([.. arguments, "--method", "ddpo"]).FailsWith(2, "--eta: expected more than 0, got 0");
        Cli.Run([.. TinyTune.Arguments(model.Path, folder, "run"), "--sampler", "dpm-solver++"])
            .FailsWith(2, "--sampler: expected ddim or ddpm, got dpm-solver++", "no density");
        Cli.Run([.. arguments.TakeWhile(argument => argument != "--seed"), "--eta", "0", "--population", "4", "--method", "es"]).Succeeds();
    }

    [Fact]
    public void MissingModelAndRun_AreOneLine()
    {
        using var folder = new TempFolder();
        Cli.Run(TinyTune.Arguments(folder.At("none"), folder, "run")).FailsWith(1, "none", "there is no such folder");
        Cli.Run("tune", "--resume", folder.At("none")).FailsWith(1, "there is no run in this folder");
        Cli.Run(TinyTune.Arguments(model.Path, folder, "prompts.txt/run")).FailsWith(1, "--output: expected a folder, but", "is a file");
        Cli.Run(TinyTune.Arguments(folder.At("prompts.txt"), folder, "run")).FailsWith(1, "expected a folder, got a file");
    }
}
