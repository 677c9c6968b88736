using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Comparisons;

namespace OrtRlhf.Cli.Commands;

/// <summary>Sets finished runs side by side.</summary>
[Verb("compare", HelpText = "Sets finished runs side by side: what each raised on held-out images, and what it cost. Runs that differ by "
    + "their seed alone are one line, "
    + "with mean and standard deviation over seeds. With --output a table, a picture of the curves and the numbers as files.")]
[Example("two methods, three seeds each", "compare runs/ddpo-0 runs/ddpo-1 runs/ddpo-2 runs/nft-0 runs/nft-1 runs/nft-2")]
[Example("files for a page", "compare runs/* --output docs/comparison")]
[Example("how much the counting got better", "compare runs/* --show \"GenEval counting,prompt-alignment\"")]
internal sealed class CompareCommand : ICommand
{
    [Value(0, MetaName = "RUN", HelpText = "Folders of finished runs.")]
    public IEnumerable<string> Runs { get; set; } = [];

    [Option("show", MetaValue = "A,B", HelpText = "What to show: reward (the trained sum), names of rewards, 'GenEval overall' or "
        + "another task, diversity. Default all that all runs measured but GenEval's single tasks.")]
    public IEnumerable<string> Show { get; set; } = [];

    [Option("title", Default = "Training reward, mean and standard deviation over seeds", MetaValue = "TEXT",
        HelpText = "Title of the picture.")]
    public string Title { get; set; } = "";

    [Option("output", MetaValue = "FOLDER",
        HelpText = "Write comparison.md, comparison.json and, where all were trained on the same reward, comparison.svg there, too.")]
    public string? Output { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        if (!Runs.Any()) throw new UsageError("compare: expected the folders of finished runs, 'ortrlhf compare runs/*' for instance");
        if (Output is not null) OutputPlace.RequireFolder("output", Output);
        var comparison = RunComparison.Read([.. Runs]);
        var shared = comparison.Shared;
        if (Show.FirstOrDefault(name => !shared.Contains(name)) is { } unknown)
            throw new UsageError($"--show: '{unknown}' is not what all of these runs measured; they have {string.Join(", ", shared)}");
        string[] shown = Show.Any() ? [.. Show] : [.. shared.Where(IsShownByDefault)];
        foreach (var group in comparison.Groups) Write(group, shown);
        if (Output is null) return ExitCode.Done;
        DiskFault.Guard(Output, () => Directory.CreateDirectory(Output));
        AtomicFile.Write(Path.Combine(Output, "comparison.md"), comparison.ToMarkdown(shown));
        if (comparison.IsOneReward) AtomicFile.Write(Path.Combine(Output, "comparison.svg"), comparison.ToSvg(Title));
        JsonFile.Write(Path.Combine(Output, "comparison.json"), comparison.Groups);
        Terminal.Line(
            $"written {Output}{(comparison.IsOneReward ? "" : ", without curves: these runs were trained on different rewards")}");
        return ExitCode.Done;

        // A reward that is no sum goes by its own name.
        bool IsShownByDefault(string name) => name == RunGroup.Reward ? !shared.Contains(comparison.Groups[0].Trained)
            : name == "GenEval overall" || !name.StartsWith("GenEval ", StringComparison.Ordinal);
    }

    private static void Write(RunGroup group, string[] shown)
    {
        Terminal.Line(group.Name);
        var table = ScoreTable.New($"{group.Runs.Count} run{(group.Runs.Count == 1 ? "" : "s")}, {group.Images} images, "
            + $"{Clock.Write(group.Seconds.Mean)}", "before", "after", "change");
        foreach (var name in shown)
        {
            var quantity = group.Quantities[name];
            table.Row(name, Numbers.Write(quantity.Before.Mean), Numbers.Write(quantity.After.Mean),
                Numbers.Write(quantity.Change.Mean, quantity.Change.Stddev, signed: true));
        }
        if (group.Kl is not null) table.Row("KL to the base model, nats", "", Numbers.Write(group.Kl.Mean, group.Kl.Stddev), "");
        table.Write();
    }
}
