using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Prompts;
using Spectre.Console;

namespace OrtRlhf.Cli.Screen;

/// <summary>A run as it is seen: a live line on a terminal, a line an epoch when redirected; then a table of what changed.</summary>
internal static class TuneScreen
{
    private const int Bar = 20;

    /// <summary>Runs something that tells of its progress, and shows it.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="run">The run.</param>
    /// <returns>An <see cref="ExitCode"/>.</returns>
    public static int Show(string folder, Func<TuningEnvironment, RunSummary> run)
    {
        var summary = Terminal.IsLive ? Live(folder, run) : Plain(folder, run);
        Summary(summary, new RunFolder(folder));
        return ExitCode.Done;
    }

    private static RunSummary Plain(string folder, Func<TuningEnvironment, RunSummary> run)
    {
        var state = new TuneProgress();
        var stage = TuningStage.Loading;
        return run(Environment(
            progress =>
            {
                if (state.Take(progress)) Terminal.Line($"run     {folder}");
                if (progress.Stage == stage
                    || progress.Stage is not (TuningStage.EvaluatingBase or TuningStage.Evaluating or TuningStage.Writing)) return;
                stage = progress.Stage;
                Terminal.Line(state.Doing());
            },
            evaluation =>
            {
                state.TakeBase(evaluation);
                Terminal.Line($"base    {state.BaseReward()}");
            },
            metrics =>
            {
                state.Take(metrics);
                Terminal.Line(state.EpochLine());
            }));
    }

    private static RunSummary Live(string folder, Func<TuningEnvironment, RunSummary> run)
    {
        var state = new TuneProgress();
        return Terminal.Out.Progress().AutoClear(true).HideCompleted(false)
            .Columns(new SpinnerColumn(Spinner.Known.Dots), new ProgressBarColumn { Width = Bar },
                new TaskDescriptionColumn { Alignment = Justify.Left })
            .Start(context =>
            {
                var task = context.AddTask("loading the model", maxValue: 1);
                void Refresh()
                {
                    task.Value = state.Share();
                    task.Description = Markup.Escape(state.LiveLine(Terminal.Out.Profile.Width - Bar - 6));
                }
                return run(Environment(
                    progress =>
                    {
                        if (state.Take(progress)) Terminal.Out.WriteLine($"run     {folder}");
                        Refresh();
                    },
                    evaluation =>
                    {
                        state.TakeBase(evaluation);
                        Refresh();
                    },
                    metrics =>
                    {
                        state.Take(metrics);
                        Refresh();
                    }));
            });
    }

    private static TuningEnvironment Environment(Action<TuningProgress> progress, Action<EvaluationResult> evaluated,
        Action<EpochMetrics> epoch) => new()
        {
            OpenModel = (folder, reading) => ImageModel.Open(ModelFolder.Find(folder), reading),
            Progress = progress,
            BaseEvaluated = evaluated,
            EpochDone = epoch,
            Uses = ReportUses.Of,
        };

    private static void Summary(RunSummary summary, RunFolder folder)
    {
        var table = ScoreTable.New("held-out images", "before", "after", "change", "wins, %");
        table.Add(summary.Reward.Name, summary.Reward);
        foreach (var (name, change) in summary.Rewards.Where(reward => reward.Key != summary.Reward.Name)) table.Add(name, change);
        if (summary.GenEval is { } tasks) foreach (var (task, change) in tasks) table.Add($"GenEval {task} ({change.Before.N})", change);
        Terminal.Line();
        table.Write();
        var facts = new List<string> { $"{summary.Images} images in {Clock.Write(summary.Seconds)}",
            $"peak memory {summary.PeakMemoryBytes / 1e6:F0} MB" };
        if (summary.Kl is { } kl) facts.Add($"KL to the base model {Numbers.Write(kl)} nats");
        if (summary.Ratio is { } ratio) facts.Add($"first ratio within {ratio.FirstMaxDeviation:0e0} of 1");
        Terminal.Line(string.Join(", ", facts));
        Terminal.Line();
        var adapter = Path.Combine(folder.Adapter, "adapter.onnx_adapter");
        Terminal.Line($"report  {folder.Report}");
        Terminal.Line($"adapter {adapter}");
        var prompt = JsonFile.Read<PromptPool>(folder.Prompts).HeldOut is [""] ? "" : " --prompt \"...\"";
        Terminal.Line($"try     ortrlhf sample {(summary.Model == ModelFolder.Default ? "" : summary.Model + " ")}--adapter "
            + $"{adapter}{prompt}");
    }
}
