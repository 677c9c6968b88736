using System.Diagnostics;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Files;
using OrtRlhf.Learning.Statistics;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Runs;

/// <summary>
/// The epochs of a run and what they leave in its folder. Nothing that decides a number lives outside a checkpoint, so that a run which
/// was killed goes on to the same numbers; lines of later epochs than the checkpoint's are cut off and written again.
/// </summary>
internal sealed class TuningLoop : IDisposable
{
    private readonly RunFolder folder;
    private readonly TuningParts parts;
    private readonly TuningOptions options;
    private readonly ITuningMethod method;
    private readonly SampleRequest[] heldOut;
    private readonly JsonLines<EpochMetrics> metrics;
    private readonly JsonLines<EpochTiming> timings;
    private readonly TensorBoardLog board;
    private readonly double secondsBefore;
    private readonly long start = Stopwatch.GetTimestamp();
    private int epoch;

    private TuningLoop(RunFolder folder, TuningParts parts, ITuningMethod method, Checkpoint? from)
    {
        (this.folder, this.parts, this.method, options) = (folder, parts, method, parts.Options);
        heldOut = Evaluation.Requests(parts.Prompts.HeldOut, options.EvaluationImages, options.EvaluationSeed);
        epoch = from?.Epoch ?? 0;
        if (from is not null) secondsBefore = TuningCheckpoint.Restore(from, parts, method).Seconds;
        metrics = JsonLines<EpochMetrics>.Open(folder.Metrics, epoch, line => line.Epoch);
        timings = JsonLines<EpochTiming>.Open(folder.Timings, epoch, line => line.Epoch);
        board = TensorBoardLog.Open(folder.TensorBoard, epoch);
    }

    private double Seconds => secondsBefore + Stopwatch.GetElapsedTime(start).TotalSeconds;

    /// <summary>Runs what is left of a run.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="parts">What it works with, as the base model.</param>
    /// <param name="method">How it learns.</param>
    /// <param name="from">The checkpoint to go on from; null for the beginning.</param>
    /// <param name="cancellation">Stops the run.</param>
    public static RunSummary Run(RunFolder folder, TuningParts parts, ITuningMethod method, Checkpoint? from,
        CancellationToken cancellation)
    {
        using var loop = new TuningLoop(folder, parts, method, from);
        try
        {
            return loop.Run(cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            var kept = Checkpoint.Latest(folder.Checkpoints) is { } checkpoint
                ? $"the checkpoint after epoch {checkpoint.Epoch} of {loop.options.Epochs} is kept" : "no epoch was finished";
            throw new TuningInterruptedException($"interrupted; {kept}", folder.Root, cancellation);
        }
    }

    public void Dispose()
    {
        metrics.Dispose();
        timings.Dispose();
        board.Dispose();
    }

    private RunSummary Run(CancellationToken cancellation)
    {
        var before = BaseEvaluation(cancellation);
        parts.Environment.BaseEvaluated(before);
        if (epoch == 0)
        {
            if (options.SamplesEvery > 0) Samples(withKl: false, cancellation);
            TuningCheckpoint.Save(folder, epoch, parts, method, Seconds);
        }
        while (epoch < options.Epochs)
        {
            cancellation.ThrowIfCancellationRequested();
            Epoch(epoch + 1, cancellation);
        }
        var after = Evaluate(cancellation);
        JsonFile.Write(folder.EvaluationAfter, after);
        parts.Report(TuningStage.Writing, epoch, 0, 0);
        return new TuningResult(folder, parts).Write(before, after, Seconds, cancellation);
    }

    private void Epoch(int next, CancellationToken cancellation)
    {
        var (clock, began) = (new EpochClock(), Stopwatch.GetTimestamp());
        var line = method.Run(next, clock, cancellation);
        epoch = next;
        if (options.SamplesEvery > 0 && (epoch % options.SamplesEvery == 0 || epoch == options.Epochs)) line =
            line with { Kl = Samples(withKl: true, cancellation) };
        if (options.EvaluateEvery > 0 && epoch % options.EvaluateEvery == 0 && epoch < options.Epochs) line = WithEvaluation(line,
            cancellation);
        metrics.Append(line);
        board.Scalars(line);
        var timing = new EpochTiming(epoch, DateTimeOffset.UtcNow, clock[TuningStage.Sampling], clock[TuningStage.Scoring],
            clock[TuningStage.Updating],
            Stopwatch.GetElapsedTime(began).TotalSeconds, ProcessMemory.Peak());
        timings.Append(timing);
        board.Scalars(epoch, [("time/sample", timing.SampleSeconds), ("time/score", timing.ScoreSeconds),
            ("time/update", timing.UpdateSeconds), ("time/peakMemoryMB", timing.PeakMemoryBytes / 1e6)]);
        if (epoch % options.CheckpointEvery == 0 || epoch == options.Epochs) TuningCheckpoint.Save(folder, epoch, parts, method, Seconds);
        parts.Environment.EpochDone(line);
    }

    // A run that resumes reads the evaluation of the base model back: it is the same.
    private EvaluationResult BaseEvaluation(CancellationToken cancellation)
    {
        if (epoch > 0 && File.Exists(folder.EvaluationBefore)) return JsonFile.Read<EvaluationResult>(folder.EvaluationBefore);
        EvaluationResult? result = null;
        parts.Policy.AsBase(() => result = Evaluation.Run(
            parts.Judged, parts.Reward, heldOut, noisy: null, done =>
                parts.Report(TuningStage.EvaluatingBase, epoch, done, heldOut.Length), cancellation));
        JsonFile.Write(folder.EvaluationBefore, result);
        return result!;
    }

    private EvaluationResult Evaluate(CancellationToken cancellation)
    {
        EvaluationResult? result = null;
        parts.Learner.AsShipped(() => result = Evaluation.Run(
            parts.Judged, parts.Reward, heldOut, parts.Pipeline.Noisy(), done =>
                parts.Report(TuningStage.Evaluating, epoch, done, heldOut.Length), cancellation));
        return result!;
    }

    private EpochMetrics WithEvaluation(EpochMetrics line, CancellationToken cancellation)
    {
        var result = Evaluate(cancellation);
        var other = new Dictionary<string, double>(line.Other
            ?? new Dictionary<string, double>())
        { ["evaluation"] = MeanEstimate.Of(result.Total).Mean };
        foreach (var (name, scores) in result.Rewards) other["evaluation." + name] = MeanEstimate.Of(scores).Mean;
        return line with { Kl = result.Kl, Other = other };
    }

    // A sheet of held-out prompts at fixed seeds, and the KL divergence on its trajectories.
    private double? Samples(bool withKl, CancellationToken cancellation)
    {
        SampledImage[] images = [];
        var kl = double.NaN;
        parts.Learner.AsShipped(() =>
        {
            images = parts.Judged.Sample([.. heldOut.Take(options.SampleImages)], cancellation: cancellation);
            if (withKl) kl = Evaluation.Kl(parts.Pipeline.Noisy(), parts.Judged, [.. images.Select(i => i.Trajectory)], cancellation);
        });
        var sheet = new ImageGrid { Columns = 4, Scale = Math.Max(1, 160 / images[0].Image.Width) }
            .Draw([.. images.Select(i => i.Image)], [.. images.Select(i => i.Prompt)]);
        AtomicFile.Write(Path.Combine(folder.Samples, $"epoch-{epoch:D6}.png"), ImageCodec.EncodePng(sheet));
        board.Image(epoch, "samples", sheet);
        return double.IsNaN(kl) ? null : kl;
    }
}
