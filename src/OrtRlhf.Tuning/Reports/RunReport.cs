using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Rewards;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Reports;

/// <summary>One prompt and seed before and after tuning.</summary>
/// <param name="Prompt">The prompt, held out.</param>
/// <param name="Seed">The seed of both images.</param>
/// <param name="Before">The base model's image.</param>
/// <param name="After">The tuned model's image.</param>
/// <param name="ScoreBefore">The trained reward of <paramref name="Before"/>, null to leave it out.</param>
/// <param name="ScoreAfter">The trained reward of <paramref name="After"/>.</param>
public sealed record ReportPair(string Prompt, ulong Seed, RgbImage Before, RgbImage After, double? ScoreBefore = null,
    double? ScoreAfter = null);

/// <summary>
/// A run as one page: what changed, in pictures and numbers with standard errors, what it cost, and how to use the result.
/// The HTML file holds its images, style and script, and opens offline, in light and dark, on paper and on a telephone.
/// </summary>
public sealed record RunReport
{
    /// <summary>The numbers, as in summary.json.</summary>
    public required RunSummary Summary { get; init; }

    /// <summary>The lines of metrics.jsonl, in order.</summary>
    public required IReadOnlyList<EpochMetrics> Epochs { get; init; }

    /// <summary>Images at equal seeds; about 12 show well.</summary>
    public IReadOnlyList<ReportPair> Pairs { get; init; } = [];

    /// <summary>Every resolved option by name, in the order shown.</summary>
    public IReadOnlyDictionary<string, string> Options { get; init; } = new Dictionary<string, string>();

    /// <summary>The lines of timings.jsonl, for where the time went.</summary>
    public IReadOnlyList<EpochTiming> Timings { get; init; } = [];

    /// <summary>Diversity of the held-out images before, see <see cref="ImageDiversity"/>.</summary>
    public double? DiversityBefore { get; init; }

    /// <summary>Diversity of the held-out images after.</summary>
    public double? DiversityAfter { get; init; }

    /// <summary>What can be done with the adapter, each a title and lines to copy; none by default.</summary>
    public IReadOnlyList<(string Title, string Code)> Uses { get; init; } = [];

    /// <summary>What made the report, "OrtRlhf 0.1.0, ONNX Runtime 1.29.0" for instance.</summary>
    public string MadeWith { get; init; } = "OrtRlhf";

    /// <summary>Weights of the rewards trained on, by name; what <see cref="RunSummary.Rewards"/> holds beyond them was watched.</summary>
    internal IReadOnlyDictionary<string, double> Weights =>
        RewardExpression.Parse(Summary.Reward.Name, Names().Contains, Summary.Rewards.Keys).ToDictionary(term =>
            term.Name.ToString(), term => term.Weight);

    private HashSet<string> Names() => [.. Summary.Rewards.Keys.Select(name => name.Split(':')[0])];

    /// <summary>The page.</summary>
    public string ToHtml() => ReportPage.Write(this);

    /// <summary>Writes the page, whole or not at all.</summary>
    /// <param name="path">The file, <see cref="RunFolder.Report"/>.</param>
    /// <exception cref="UserError">The file cannot be written.</exception>
    public void Write(string path) => AtomicFile.Write(path, ToHtml());
}
