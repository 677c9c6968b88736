using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Preferences;

namespace OrtRlhf.Cli.Commands;

/// <summary>What people chose: counts, agreement, win rates; import and export.</summary>
[Verb("preferences", HelpText = "Says what people chose: counts, ties, attention checks, agreement between raters (Cohen's and Fleiss' "
    + "kappa; 1 is perfect, 0 that of chance) and win rates by prompt and by "
    + "what drew the images. Exports a store as JSON Lines and imports it again exactly; reads and writes image pairs with captions as "
        + "others keep them.")]
[Example("what was chosen on the page of 'ortrlhf label'", "preferences")]
[Example("to another machine: the file, and the images beside it", "preferences artifacts/preferences --export backup/preferences.jsonl")]
[Example("and in again", "preferences other --import backup/preferences.jsonl")]
[Example("image pairs with captions, in the columns of Pick-a-Pic (caption, jpg_0, jpg_1, label_0)",
    "preferences --export pairs/pairs.jsonl --layout pairs")]
internal sealed class PreferencesCommand : ICommand
{
    /// <summary>The store where none is named.</summary>
    public static readonly string DefaultStore = Path.Combine("artifacts", "preferences");

    private const int PromptsShown = 12;

    [Value(0, MetaName = "STORE", HelpText = "The store: a folder, or postgresql://...#images=FOLDER. Default artifacts/preferences.")]
    public string? Store { get; set; }

    [Option("export", MetaValue = "FILE", HelpText = "Write the store to a JSON Lines file; images are copied beside it.")]
    public string? Export { get; set; }

    [Option("layout", MetaValue = "NAME", HelpText = "Of the export: exact, which imports to the same store again; or pairs, images and "
        + "captions without trajectories, for other programs. Default exact.")]
    public string Layout { get; set; } = "exact";

    [Option("import", MetaValue = "FILE", HelpText = "Add what a JSON Lines file holds: an exact export, or pairs as jpg_0, jpg_1, "
        + "label_0; chosen, rejected; image_path with rank or human_preference. The store is made if it is not there.")]
    public string? Import { get; set; }

    [Option("json", MetaValue = "FILE", HelpText = "Write the numbers as JSON, too; - writes them to the screen instead of the tables.")]
    public string? Json { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        if (Layout is not ("exact" or "pairs")) throw new UsageError($"--layout: expected exact or pairs, got '{Layout}'");
        foreach (var (option, file) in (ReadOnlySpan<(string, string?)>)[("export", Export), ("json", Json == "-" ? null : Json)])
        {
            if (file is null) continue;
            if (Directory.Exists(file)) throw new UserError(
                $"--{option}: expected a file, got the folder '{file}'; add a name such as preferences.jsonl");
            OutputPlace.RequireFolder(option, Path.GetDirectoryName(file) ?? "");
        }
        using var store = PreferenceStore.Open(Store ?? DefaultStore, create: Import is not null);
        if (Import is not null)
        {
            var (candidates, choices) = PreferenceLines.Read(store, Import);
            Console.Error.WriteLine($"{candidates} candidates and {choices} choices from {Import} are new");
        }
        if (Export is not null)
        {
            if (Layout == "pairs") Console.Error.WriteLine($"{PairLayout.Write(store, Export)} pairs in {Export}");
            else PreferenceLines.Write(store, Export);
        }
        var report = PreferenceReport.Of(store);
        if (Json == "-") Terminal.Line(System.Text.Json.JsonSerializer.Serialize(report, JsonFile.Indented));
        else Show(report);
        if (Json is not null and not "-") JsonFile.Write(Json, report);
        return ExitCode.Done;
    }

    private static void Show(PreferenceReport report)
    {
        Terminal.Line($"{report.Choices} choices ({report.Ties} ties, {report.Skips} skips beside them), {report.Pairs} pairs of "
            + $"winner and loser");
        Terminal.Line($"{report.Candidates} candidates, {report.WithTrajectories} with trajectories");
        if (report.Raters.Count > 0)
        {
            var raters = ScoreTable.New("rater", "choices", "ties", "skips", "checks passed");
            foreach (var rater in report.Raters) raters.Row(rater.Rater, $"{rater.Choices}", $"{rater.Ties}", $"{rater.Skips}",
                rater.Checks == 0 ? "" : $"{rater.Passed} of {rater.Checks}");
            raters.Write();
        }
        if (report.Agreements.Count > 0)
        {
            var agreements = ScoreTable.New("agreement", "pairs", "same", "Cohen's kappa");
            foreach (var pair in report.Agreements) agreements.Row($"{pair.First}, {pair.Second}", $"{pair.Pairs}", Percent(pair.Observed),
                Kappa(pair.Kappa));
            agreements.Write();
            Terminal.Line(
                $"Fleiss' kappa of all raters: {Kappa(report.FleissKappa)} on {report.SharedPairs} pairs that two or more judged");
        }
        if (report.Sources.Count > 0)
        {
            var sources = ScoreTable.New("drawn by", "wins", "ties", "losses", "win rate");
            foreach (var (source, rate) in report.Sources) sources.Row(source, $"{rate.Wins}", $"{rate.Ties}", $"{rate.Losses}",
                Percent(rate.Rate));
            sources.Write();
        }
        if (report.Prompts.Count == 0) return;
        var prompts = ScoreTable.New("prompt", "choices", "ties", "candidates", "the best one's win rate");
        foreach (var prompt in report.Prompts.Take(PromptsShown))
            prompts.Row(prompt.Prompt, $"{prompt.Choices}", $"{prompt.Ties}", $"{prompt.Candidates.Count}", prompt.Candidates.Count == 0
                ? "" : Percent(prompt.Candidates.First().Value.Rate));
        prompts.Write();
        if (report.Prompts.Count > PromptsShown) Terminal.Line($"and {report.Prompts.Count - PromptsShown} more prompts; --json has all");
    }

    private static string Percent(double share) => double.IsFinite(share) ? $"{100 * share:F0}%" : "";

    private static string Kappa(double? kappa) => kappa is { } value ? Numbers.Write(value) : "none: all judged the same way";
}
