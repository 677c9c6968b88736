using System.Diagnostics;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Screen;

/// <summary>What is known of a run so far, and how it reads.</summary>
internal sealed class TuneProgress
{
    private const string Levels = "▁▂▃▄▅▆▇█";
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly List<double> _rewards = [];
    private TuningProgress _now;
    private EpochMetrics? _last;
    private MeanEstimate? _base;
    private double _evaluation, _evaluationBegan, _trainingBegan = double.NaN;
    private int _firstEpoch;
    private long _firstImages;

    /// <summary>Takes a step's news.</summary>
    /// <returns>Whether the model is loaded by now, and was not before.</returns>
    public bool Take(TuningProgress progress)
    {
        var begins = _now.Stage == TuningStage.Loading && progress.Stage != TuningStage.Loading;
        // the first batch of the evaluation is told of when it is done
        if (progress.Stage == TuningStage.Loading) _evaluationBegan = Seconds;
        // Where people have chosen, nothing is sampled: epochs begin with their updates.
        if (progress.Stage is TuningStage.Sampling or TuningStage.Updating && double.IsNaN(_trainingBegan)) (_trainingBegan,
            _firstEpoch) = (Seconds, progress.Epoch - 1);
        _now = progress;
        return begins;
    }

    /// <summary>Takes the base model's scores.</summary>
    public void TakeBase(EvaluationResult evaluation)
    {
        _base = MeanEstimate.Of(evaluation.Total);
        if (_now.Stage == TuningStage.EvaluatingBase) _evaluation = Seconds - _evaluationBegan;
    }

    /// <summary>Takes an epoch's numbers.</summary>
    public void Take(EpochMetrics metrics)
    {
        if (_last is null) _firstImages = metrics.Images - metrics.Reward.N;
        _last = metrics;
        _rewards.Add(metrics.Reward.Mean);
    }

    /// <summary>The share of what is being done that is done, 0 to 1: of the run's epochs while it learns, else of the stage.</summary>
    public double Share()
    {
        var share = _now.Total > 0 ? (double)_now.Done / _now.Total : 0;
        return _now.Stage switch
        {
            TuningStage.Sampling => (_now.Epoch - 1 + (share / 2)) / _now.Epochs,
            TuningStage.Scoring => (_now.Epoch - 0.5) / _now.Epochs,
            TuningStage.Updating => (_now.Epoch - 0.5 + (share / 2)) / _now.Epochs,
            TuningStage.Writing => 1,
            _ => share,
        };
    }

    /// <summary>The base model's reward with its standard error.</summary>
    public string BaseReward() => _base is null ? "" : $"reward {Numbers.Write(_base)}, {_base.N} held-out images";

    /// <summary>What is being done.</summary>
    public string Doing() => _now.Stage switch
    {
        TuningStage.EvaluatingBase => $"evaluating the base model on {_now.Total} held-out images",
        TuningStage.Evaluating => $"evaluating the tuned model on {_now.Total} held-out images",
        TuningStage.Sampling => "sampling",
        TuningStage.Scoring => "scoring",
        TuningStage.Updating => "updating",
        TuningStage.Writing => "writing adapter and report",
        _ => "loading the model",
    };

    /// <summary>The line of an epoch that is done.</summary>
    public string EpochLine()
    {
        if (_last is not { } m) return "";
        var text = $"epoch {m.Epoch}/{_now.Epochs}  reward {Numbers.Write(m.Reward.Mean)}";
        foreach (var (name, mean) in m.Rewards.Where(reward => m.Rewards.Count > 1)) text += $"  {name} {Numbers.Write(mean)}";
        if (m.Other?.TryGetValue("choices", out var choices) == true) text += $"  choices {choices}";
        if (m.Other?.TryGetValue("implicitAccuracy", out var accuracy) == true) text += $"  learned {100 * accuracy:F0}%";
        if (m.Kl is { } kl) text += $"  kl {Numbers.Write(kl)}";
        return $"{text}  {Numbers.Write(ImagesPerSecond)} images/s  {Clock.Write(Left)} left";
    }

    /// <summary>The line that is redrawn; what matters less is left out where it does not fit.</summary>
    /// <param name="width">Characters there are.</param>
    public string LiveLine(int width)
    {
        var learning = _now.Stage is TuningStage.Sampling or TuningStage.Scoring or TuningStage.Updating;
        var parts = new List<(string Text, int Rank)> { (learning ? $"epoch {_now.Epoch}/{_now.Epochs} {Doing(),-8}" : Doing(), 0) };
        if (_last is { } m) parts.Add(($"  reward {Numbers.Write(m.Reward.Mean)}", 1));
        if (_base is { } b) parts.Add(($" (base {Numbers.Write(b.Mean)})", 3));
        if (_rewards.Count > 1) parts.Add(($" {Sparkline()}", 5));
        if (_last is not null && learning)
        {
            parts.Add(($"  {Numbers.Write(ImagesPerSecond)} images/s", 4));
            parts.Add(($"  {Clock.Write(Left)} left", 2));
        }
        while (parts.Count > 1 && parts.Sum(part => part.Text.Length) > width) parts.Remove(parts.MaxBy(part => part.Rank));
        return string.Concat(parts.Select(part => part.Text));
    }

    private double Seconds => _clock.Elapsed.TotalSeconds;

    private double Training => Math.Max(1e-3, Seconds - _trainingBegan);

    private double ImagesPerSecond => (_last!.Images - _firstImages) / Training;

    // Epochs cost what they did so far; the last evaluation and the report's pictures what the first evaluation did.
    private double Left => (Training / Math.Max(1, _last!.Epoch - _firstEpoch) * (_now.Epochs - _last.Epoch)) + _evaluation;

    // The last 16 epochs, lowest to highest.
    private string Sparkline()
    {
        var shown = _rewards.TakeLast(16).ToArray();
        var (min, max) = (shown.Min(), shown.Max());
        return string.Concat(shown.Select(r => Levels[max > min ? (int)Math.Round((r - min) / (max - min) * (Levels.Length - 1)) : 0]));
    }
}
