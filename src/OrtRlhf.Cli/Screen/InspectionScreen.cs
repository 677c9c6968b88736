using System.Globalization;
using OrtRlhf.Diffusion.Inspection;

namespace OrtRlhf.Cli.Screen;

/// <summary>A component's report as lines of text.</summary>
internal static class InspectionScreen
{
    /// <summary>Writes a report.</summary>
    /// <param name="report">The report.</param>
    /// <param name="paths">Whether to list every module that LoRA targets match.</param>
    public static void Show(ComponentReport report, bool paths)
    {
        Line($"{report.Name}  {(report.Class.Length > 0 ? report.Class : "(no class)")}{(report.Format == "files" ? "" : $", {report.Format}")}");
        if (report.Parameters > 0)
            Line($"  {Count(report.Parameters)} parameters, "
                + $"{string.Join(" and ", report.Types)}{(report.Opset is { } opset ? $", opset {opset}" : "")}");
        foreach (var (heading, values) in new[] { ("takes", report.Inputs), ("gives", report.Outputs) })
            foreach (var value in values) Line(
                $"  {heading}  {value.Name}: {value.Type}{(value.Shape is null ? "" : $" [{string.Join(",", value.Shape)}]")}");
        if (report.Inputs.Count > 0)
        {
            Line($"  LoRA targets match {report.LoraTargets.Count} "
                + $"modules{(report.LoraTargets.Count > 0 && !paths ? $": {string.Join(", ", report.LoraTargets.Take(2))}{(report.LoraTargets.Count > 2 ? ", ..." : "")}" : "")}");
            if (paths) foreach (var path in report.LoraTargets) Line($"    {path}");
            if (report.Note is null)
            {
                Line(report.UnsupportedOperators.Count == 0
                    ? "  gradient: every operator has one"
                    : $"  gradient: none through {string.Join(", ", report.UnsupportedOperators.Select(o => $"{o.Key} ({o.Value} nodes)"))}");
            }
        }
        if (report.Note is { } note) Line($"  note: {note}");
    }

    // Names come from files of anyone: no control characters on the terminal.
    private static void Line(string text) => Terminal.Line(string.Concat(text.Select(c => char.IsControl(c) ? '?' : c)));

    private static string Count(long number) => number < 1_000_000 ? number.ToString("N0", CultureInfo.InvariantCulture)
        : $"{(number / 1e6).ToString("N1", CultureInfo.InvariantCulture)} million";
}
