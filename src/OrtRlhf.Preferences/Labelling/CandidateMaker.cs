using System.Runtime.InteropServices;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>What to draw for raters.</summary>
/// <param name="Prompt">The prompt of question n; those of earlier rounds count.</param>
/// <param name="Seed">Seed of the first candidate; the next has the next one.</param>
/// <param name="Questions">Questions in all; those that the store has count.</param>
/// <param name="Ahead">Rests while so many questions wait for answers.</param>
/// <param name="Source">Stored with each candidate.</param>
public sealed record MakerOptions(Func<uint, string> Prompt, ulong Seed, int Questions, int Ahead, string? Source);

/// <summary>
/// Makes candidates in the background: draws them with a pipeline, and spoils some for attention checks. It runs on a thread that gives way
/// to others, and so do the threads
/// of its sessions, which that thread starts: those who label do not wait for it.
/// </summary>
public sealed partial class CandidateMaker : IDisposable
{
    private const int Nice = 10, ChecksAtMost = 20;
    private readonly IPreferenceStore _store;
    private readonly LabelQueue _queue;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _work;

    /// <summary>Starts.</summary>
    /// <param name="store">The store.</param>
    /// <param name="queue">Gets the questions.</param>
    /// <param name="open">Opens the pipeline, on the background thread; null where nothing is drawn.</param>
    /// <param name="options">What to draw; null where nothing is.</param>
    public CandidateMaker(IPreferenceStore store, LabelQueue queue, Func<Pipeline>? open, MakerOptions? options)
    {
        (_store, _queue) = (store, queue);
        queue.Expected = options?.Questions ?? 0;
        queue.IsGrowing = open is not null && options is not null && queue.Questions < options.Questions;
        var ready = new TaskCompletionSource();
        _work = Task.Factory.StartNew(
            () =>
            {
                try
                {
                    GiveWay();
                    if (open is null || options is null || !queue.IsGrowing)
                    {
                        ready.SetResult();
                        Spoil();
                        return;
                    }
                    using var pipeline = open();
                    ready.SetResult();
                    Spoil();
                    Draw(pipeline, options);
                }
                catch (OperationCanceledException) when (_stop.IsCancellationRequested)
                {
                }
                catch (Exception fault)
                {
                    Fault = fault;
                    ready.TrySetException(fault);
                }
                finally
                {
                    queue.IsGrowing = false;
                }
            },
            TaskCreationOptions.LongRunning);
        Ready = ready.Task;
    }

    /// <summary>Ends when the model is loaded, with the fault when it cannot be.</summary>
    public Task Ready { get; }

    /// <summary>What stopped it; null while all is well.</summary>
    public Exception? Fault { get; private set; }

    /// <summary>Candidates drawn so far.</summary>
    public int Drawn { get; private set; }

    /// <summary>Stops at the next step.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _work.Wait();
        _stop.Dispose();
    }

    private void Draw(Pipeline pipeline, MakerOptions options)
    {
        var each = _queue.Options.Candidates;
        var number = _store.Candidates().Count(candidate => !candidate.IsCheck);
        for (var n = _queue.Questions; n < options.Questions; n = _queue.Questions)
        {
            while (_queue.Open >= options.Ahead) _stop.Token.WaitHandle.WaitOne(200);
            _stop.Token.ThrowIfCancellationRequested();
            var prompt = options.Prompt((uint)(number / each));
            var requests = Enumerable.Range(number, each).Select(i => new SampleRequest(prompt, options.Seed + (ulong)i, 0, 0)).ToArray();
            Candidate[] candidates = [.. pipeline.Sample(requests, cancellation: _stop.Token).Select(sample =>
                _store.Folder.Write(sample, pipeline, options.Source))];
            _store.Add(candidates);
            _queue.Add(candidates);
            (number, Drawn) = (number + each, Drawn + each);
            if (_queue.Questions == n) throw new UserError($"label: no new question came of prompt \"{prompt}\"");
            if (_queue.Options.CheckEvery > 0 && n % _queue.Options.CheckEvery == 1) Spoil();
        }
    }

    // A few checks, of candidates all over the store, one for each run of questions between two checks.
    private void Spoil()
    {
        if (_queue.Options.CheckEvery == 0) return;
        var all = _store.Candidates();
        var spoiled = all.Where(candidate => candidate.IsCheck).Select(AttentionCheck.OriginalOf).ToHashSet();
        var originals = all.Where(candidate => !candidate.IsCheck).ToArray();
        var wanted = Math.Min(ChecksAtMost, (originals.Length / _queue.Options.Candidates / _queue.Options.CheckEvery) + 1) - spoiled.Count;
        for (var i = 0; i < originals.Length && wanted > 0; i += Math.Max(1, originals.Length / ChecksAtMost))
        {
            _stop.Token.ThrowIfCancellationRequested();
            if (spoiled.Contains(originals[i].Id) || AttentionCheck.Make(_store.Folder, originals[i]) is not { } check) continue;
            _store.Add([check]);
            _queue.Add([originals[i], check]);
            wanted--;
        }
    }

    // .NET ignores priorities on Linux, where niceness belongs to each thread and goes to those it starts.
    private static void GiveWay()
    {
        if (OperatingSystem.IsWindows()) Thread.CurrentThread.Priority = ThreadPriority.BelowNormal;
        else if (OperatingSystem.IsLinux()) _ = SetPriority(0, 0, Nice);
    }

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, uint who, int priority);
}
