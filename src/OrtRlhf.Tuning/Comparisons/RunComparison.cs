using System.Globalization;
using System.Text;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Tuning.Reports;
using static OrtRlhf.Tuning.Reports.ReportText;

namespace OrtRlhf.Tuning.Comparisons;

/// <summary>Finished runs side by side: those that differ by their seed alone are one group, with mean and spread over seeds.</summary>
/// <param name="Groups">The groups, in the order in which their first runs were given.</param>
public sealed record RunComparison(IReadOnlyList<RunGroup> Groups)
{
    // What tells groups apart is looked for here first.
    private static readonly string[] First = ["model", "method", "reward"];

    /// <summary>Reads and groups runs.</summary>
    /// <param name="paths">Their folders, at least one.</param>
    /// <exception cref="UserError">One is no run, is not finished, or is there twice.</exception>
    public static RunComparison Read(IReadOnlyList<string> paths)
    {
        if (paths.GroupBy(path => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))).FirstOrDefault(same =>
            same.Count() > 1) is { } twice) throw new UserError($"run '{twice.First()}' is there twice; name each run once");
        var groups = paths.Select(FinishedRun.Read)
            .GroupBy(run => string.Join('\n', run.Options.OrderBy(o => o.Key, StringComparer.Ordinal).Select(o => $"{o.Key}={o.Value}")))
            .Select(group => group.ToArray()).ToArray();
        foreach (var group in groups)
            if (group.GroupBy(run => run.Summary.Seed).FirstOrDefault(same => same.Count() > 1) is { } same)
                throw new UserError($"runs '{same.First().Path}' and '{same.Last().Path}' have the same options and the same seed: they "
                    + $"are one run; leave one out");
        var names = Names([.. groups.Select(group => group[0].Options)]);
        return new([.. groups.Select((group, i) => RunGroup.Of(names[i], group))]);
    }

    /// <summary>Whether all were trained on the same reward: only then do their training rewards compare.</summary>
    public bool IsOneReward => Groups.All(group => group.Trained == Groups[0].Trained);

    /// <summary>The quantities that all groups have, <c>reward</c> among them only where <see cref="IsOneReward"/>.</summary>
    public IReadOnlyList<string> Shared => [.. Groups[0].Quantities.Keys.Where(name =>
        Groups.All(group => group.Quantities.ContainsKey(name)) && (name != RunGroup.Reward || IsOneReward))];

    /// <summary>A table in Markdown: a line a group, mean and standard deviation over its runs.</summary>
    /// <param name="quantities">Columns, of <see cref="Shared"/>.</param>
    public string ToMarkdown(IReadOnlyList<string> quantities)
    {
        var table = new StringBuilder();
        Line([.. Headings(quantities)]);
        Line([.. Headings(quantities).Select((_, i) => i == 0 ? "---" : "---:")]);
        foreach (var group in Groups) Line(Cells(group, quantities));
        return table.ToString();

        void Line(string[] cells) =>
            table.Append("| ").AppendJoin(" | ", cells.Select(cell => cell.Replace("|", "\\|", StringComparison.Ordinal))).Append(" |\n");
    }

    private static string[] Headings(IReadOnlyList<string> quantities) => ["", "runs", "images", "minutes", .. quantities, "KL"];

    private static string[] Cells(RunGroup group, IReadOnlyList<string> quantities) =>
    [
        group.Name, $"{group.Runs.Count}", group.Images.ToString("N0", CultureInfo.InvariantCulture),
            (group.Seconds.Mean / 60).ToString("F1", CultureInfo.InvariantCulture),
        .. quantities.Select(name => Cell(group.Quantities[name])), group.Kl is null ? "" : Short(group.Kl.Mean),
    ];

    /// <summary>The curves of the groups' training rewards over images scored, as a picture (SVG) for light and dark pages.</summary>
    /// <param name="title">Its title.</param>
    public string ToSvg(string title) => new CurveChart(title, [.. Groups.Select(group =>
        new Curve(group.Name, [.. group.Curve.Select(point => new ChartPoint(point.Images, point.Reward.Mean, point.Reward.Stddev, 0))]))])
            .ToSvg();

    private static string Cell(SpreadBeforeAfter quantity)
    {
        var (before, after) = (quantity.Before.Mean, quantity.After.Mean);
        double[] sizes = [.. new[] { Math.Abs(after - before), quantity.Change.Stddev }.Where(size => size > 0)];
        var decimals = sizes.Length > 0 ? Math.Clamp(1 - (int)Math.Floor(Math.Log10(sizes.Min())), 1, 4) : 3;
        var spread = quantity.Change.N > 1 ? $" ± {Fixed(quantity.Change.Stddev, decimals)}" : "";
        return $"{Fixed(before, decimals)} → {Fixed(after, decimals)} ({Signed(after - before, decimals)}{spread})";
    }

    // The fewest options, taken in order, that tell every group from the others.
    private static string[] Names(IReadOnlyList<IReadOnlyDictionary<string, string>> options)
    {
        var names = options.Select(_ => "").ToArray();
        foreach (var option in First.Concat(options.SelectMany(o => o.Keys)).Distinct())
        {
            if (names.Distinct().Count() == names.Length && names.Length > 1) break;
            var longer = names.Select((name, i) =>
                (name.Length > 0 ? name + ", " : "") + Say(option, options[i].GetValueOrDefault(option, ""))).ToArray();
            if (longer.Distinct().Count() > names.Distinct().Count()) names = longer;
        }
        return [.. names.Select((name, i) =>
            name.Length > 0 ? name : $"{Say("model", options[i]["model"])}, {Say("method", options[i]["method"])}")];
    }

    private static string Say(string option, string value) => option switch
    {
        "model" => Path.GetFileName(value.TrimEnd('/', '\\')),
        "method" => JsonNamingPolicy.KebabCaseLower.ConvertName(value),
        "reward" => value,
        _ => $"{option}={value}",
    };
}
