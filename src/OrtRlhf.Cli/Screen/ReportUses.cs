using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Screen;

/// <summary>Command lines that a run's report offers to copy.</summary>
internal static class ReportUses
{
    /// <summary>Of a finished run.</summary>
    /// <param name="summary">Its summary.</param>
    /// <param name="run">Its folder.</param>
    /// <param name="prompt">A prompt to draw; empty for a model without prompts.</param>
    public static IReadOnlyList<(string Title, string Code)> Of(RunSummary summary, string run, string prompt)
    {
        var (model, adapter) = (Quote(summary.Model), Quote($"{run.TrimEnd('/')}/adapter/adapter.onnx_adapter"));
        var text = prompt.Length == 0 ? "" : $"--prompt {Quote(prompt)} ";
        return
        [
            ("Make images", $"ortrlhf sample {model} \\\n  --adapter {adapter} \\\n  {text}--seed {summary.Seed} --output images"),
            ("Measure it again", $"ortrlhf eval {model} \\\n  --adapter {adapter} --json eval.json"),
            ("Train on", $"ortrlhf tune --resume {Quote(run)}"),
        ];
    }

    private static string Quote(string text) =>
        text.All(symbol => char.IsAsciiLetterOrDigit(symbol) || "-_./:=".Contains(symbol)) && text.Length > 0 ? text
            : "\"" + text.Replace("\\", "\\\\").Replace("\"", "\\\"") + "\"";
}
