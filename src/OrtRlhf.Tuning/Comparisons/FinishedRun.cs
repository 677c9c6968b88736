using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Comparisons;

/// <summary>A run that came to its end, read from its folder.</summary>
/// <param name="Path">The folder, as it was given.</param>
/// <param name="Options">options.json but for what does not tell runs of one kind apart: the seed, the folder, and what decides speed
/// alone.</param>
/// <param name="Summary">summary.json.</param>
/// <param name="Epochs">metrics.jsonl.</param>
/// <param name="Diversity">Difference between held-out images of one prompt before and after; null where no prompt has two.</param>
internal sealed record FinishedRun(
    string Path, IReadOnlyDictionary<string, string> Options, RunSummary Summary, IReadOnlyList<EpochMetrics> Epochs,
        (double Before, double After)? Diversity)
{
    private static readonly string[] Apart = ["seed", "output", "session", "samplesEvery", "sampleImages", "checkpointEvery"];

    /// <summary>Reads a run.</summary>
    /// <param name="path">Its folder.</param>
    /// <exception cref="UserError">No run, one that is not finished, or files that cannot be read.</exception>
    public static FinishedRun Read(string path)
    {
        var folder = new RunFolder(path);
        if (!File.Exists(folder.Options)) throw new UserError($"'{path}': expected the folder of a run, with options.json in it");
        if (!File.Exists(folder.Summary)) throw new UserError($"run '{path}' is not finished; resume it");
        var (before, after) = (Read(folder.EvaluationBefore), Read(folder.EvaluationAfter));
        return new(path, Flat(JsonFile.Read<JsonObject>(folder.Options)), JsonFile.Read<RunSummary>(folder.Summary),
            JsonLines<EpochMetrics>.Read(folder.Metrics),
            before is { } b && after is { } a ? (b, a) : null);

        static double? Read(string file) => JsonFile.Read<EvaluationResult>(file).Diversity;
    }

    // Nested options by their own names, as on the command line.
    private static Dictionary<string, string> Flat(JsonObject options)
    {
        var flat = new Dictionary<string, string>();
        Add(options);
        return flat;

        void Add(JsonObject values)
        {
            foreach (var (name, value) in values)
            {
                if (Apart.Contains(name)) continue;
                if (value is JsonObject nested) Add(nested);
                else flat[name] = value?.GetValueKind() == System.Text.Json.JsonValueKind.String ? value.GetValue<string>()
                    : value?.ToJsonString() ?? "";
            }
        }
    }
}
