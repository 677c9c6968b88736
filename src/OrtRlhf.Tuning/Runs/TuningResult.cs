using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Scenes;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Reports;

namespace OrtRlhf.Tuning.Runs;

/// <summary>What a finished run leaves: the adapter in two formats, summary.json, report.html.</summary>
internal sealed class TuningResult(RunFolder folder, TuningParts parts)
{
    private readonly TuningOptions options = parts.Options;

    /// <summary>Writes all of it, the summary last: it says that the run is finished.</summary>
    /// <param name="before">The base model's evaluation.</param>
    /// <param name="after">The tuned model's, on the same prompts and seeds.</param>
    /// <param name="seconds">Seconds of the run.</param>
    /// <param name="cancellation">Stops before the summary is written.</param>
    /// <exception cref="UserError">Full disk or another I/O fault.</exception>
    public RunSummary Write(EvaluationResult before, EvaluationResult after, double seconds, CancellationToken cancellation)
    {
        var (epochs, timings) = (JsonLines<EpochMetrics>.Read(folder.Metrics), JsonLines<EpochTiming>.Read(folder.Timings));
        parts.Learner.AsShipped(Adapter);
        var summary = new RunSummary
        {
            Model = options.Model,
            Method = options.Method,
            Seed = options.Seed,
            Images = epochs[^1].Images,
            Seconds = Math.Round(seconds, 1),
            Reward = RewardSummary.Of(parts.Reward.Name, before.Total, after.Total),
            Rewards = before.Rewards.ToDictionary(r => r.Key, r => BeforeAfter.Of(r.Value, after.Rewards[r.Key])),
            GenEval = before.Tasks.Count == 0 || before.Tasks.Count != after.Tasks.Count ? null : Tasks(before.Tasks, after.Tasks),
            Ratio = epochs.Max(e => e.RatioFirstMaxDeviation) is { } deviation ? new(deviation) : null,
            Kl = after.Kl,
            PeakMemoryBytes = timings.Max(t => t.PeakMemoryBytes) is var peak ? Math.Max(peak, ProcessMemory.Peak()) : 0,
        };
        var pairs = Pairs(cancellation);
        var report = new RunReport
        {
            Summary = summary,
            Epochs = epochs,
            Pairs = pairs,
            Options = Flat(JsonSerializer.SerializeToNode<object>(options, JsonFile.Indented)!.AsObject()),
            Timings = timings,
            DiversityBefore = before.Diversity,
            DiversityAfter = after.Diversity,
            Uses = parts.Environment.Uses(summary, options.Output, pairs.Length > 0 ? pairs[0].Prompt : ""),
            MadeWith = $"OrtRlhf {typeof(TuningResult).Assembly.GetName().Version?.ToString(3)}, ONNX Runtime "
                + $"{OrtEnv.Instance().GetVersionString()}",
        };
        report.Write(folder.Report);
        JsonFile.Write(folder.Summary, summary);
        return summary;
    }

    private static Dictionary<string, BeforeAfter> Tasks(IReadOnlyDictionary<string, float[]> before,
        IReadOnlyDictionary<string, float[]> after)
    {
        var (old, tuned) = (SceneTasks.Estimates(before), SceneTasks.Estimates(after));
        var change = SceneTasks.Estimates(after.ToDictionary(task => task.Key, task =>
            task.Value.Zip(before[task.Key], (a, b) => a - b).ToArray()));
        return old.ToDictionary(task => task.Key, task => new BeforeAfter(task.Value, tuned[task.Key], change[task.Key]));
    }

    private void Adapter()
    {
        foreach (var name in (string[])["adapter.safetensors", "adapter.onnx_adapter"]) AdapterFile.Write(parts.Policy,
            Path.Combine(folder.Adapter, name));
    }

    private ReportPair[] Pairs(CancellationToken cancellation)
    {
        var requests = Evaluation.Requests(parts.Prompts.HeldOut, options.EvaluationImages, options.EvaluationSeed)
            .Take(options.SampleImages).ToArray();
        SampledImage[] before = [], after = [];
        parts.Policy.AsBase(() => before = parts.Judged.Sample(requests, cancellation: cancellation));
        parts.Learner.AsShipped(() => after = parts.Judged.Sample(requests, cancellation: cancellation));
        var (old, tuned) = (Scores(before), Scores(after));
        return [.. requests.Select((r, i) => new ReportPair(r.Prompt, r.Seed, before[i].Image, after[i].Image, old[i], tuned[i]))];

        float[] Scores(SampledImage[] images) =>
            parts.Reward.Score([.. images.Select((image, i) => new Rewards.RewardInput(image.Image, image.Prompt, i))], cancellation);
    }

    // {"sampling":{"guidanceScale":3}} becomes guidance-scale: 3, as the command line has it.
    private static Dictionary<string, string> Flat(JsonObject json)
    {
        var flat = new Dictionary<string, string>();
        foreach (var (name, value) in json)
        {
            if (value is JsonObject inner) foreach (var (key, text) in Flat(inner)) flat[key] = text;
            else if (value is JsonArray list) flat[JsonNamingPolicy.KebabCaseLower.ConvertName(name)] = string.Join(" ", list);
            else if (value is not null) flat[JsonNamingPolicy.KebabCaseLower.ConvertName(name)] = value.ToString();
        }
        return flat;
    }
}
