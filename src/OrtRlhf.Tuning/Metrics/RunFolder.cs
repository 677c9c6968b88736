using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>The paths inside a run's folder.</summary>
/// <param name="Root">The folder itself.</param>
public sealed record RunFolder(string Root)
{
    /// <summary>options.json: every option, resolved.</summary>
    public string Options => Path.Combine(Root, "options.json");

    /// <summary>prompts.json: the prompts trained on and those held out.</summary>
    public string Prompts => Path.Combine(Root, "prompts.json");

    /// <summary>preferences.json: the choices that a run from a store began with.</summary>
    public string Preferences => Path.Combine(Root, "preferences.json");

    /// <summary>evaluation-before.json: every held-out score of the base model.</summary>
    public string EvaluationBefore => Path.Combine(Root, "evaluation-before.json");

    /// <summary>evaluation-after.json: every held-out score of the tuned model, on the same prompts and seeds.</summary>
    public string EvaluationAfter => Path.Combine(Root, "evaluation-after.json");

    /// <summary>metrics.jsonl: one line an epoch, the same for the same seed.</summary>
    public string Metrics => Path.Combine(Root, "metrics.jsonl");

    /// <summary>timings.jsonl: seconds and memory, one line an epoch; different every time.</summary>
    public string Timings => Path.Combine(Root, "timings.jsonl");

    /// <summary>tensorboard/: event files.</summary>
    public string TensorBoard => Path.Combine(Root, "tensorboard");

    /// <summary>samples/: images.</summary>
    public string Samples => Path.Combine(Root, "samples");

    /// <summary>checkpoints/: what a run resumes from.</summary>
    public string Checkpoints => Path.Combine(Root, "checkpoints");

    /// <summary>initial-adapter.safetensors: what a run that goes on from an adapter began with.</summary>
    public string InitialAdapter => Path.Combine(Root, "initial-adapter.safetensors");

    /// <summary>adapter/: what a run is for.</summary>
    public string Adapter => Path.Combine(Root, "adapter");

    /// <summary>report.html: one page that opens offline.</summary>
    public string Report => Path.Combine(Root, "report.html");

    /// <summary>summary.json: what scripts read.</summary>
    public string Summary => Path.Combine(Root, "summary.json");

    /// <summary>Makes the folder and those in it.</summary>
    /// <exception cref="UserError">They cannot be made.</exception>
    public void Create()
    {
        foreach (var folder in new[] { Root, TensorBoard, Samples, Checkpoints, Adapter })
        {
            DiskFault.Guard(folder, () => Directory.CreateDirectory(folder));
        }
    }
}
