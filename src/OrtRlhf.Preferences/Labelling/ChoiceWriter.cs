using System.Collections.Concurrent;
using OrtRlhf.Graph;

namespace OrtRlhf.Preferences.Labelling;

/// <summary>
/// Writes choices on a thread of its own. Those that wait go to the disk together, in one flush, so that fifty raters wait hardly longer
/// than one; each is told when its own is there.
/// </summary>
/// <param name="store">The store; stays the caller's.</param>
internal sealed class ChoiceWriter(IPreferenceStore store) : IDisposable
{
    private readonly BlockingCollection<Work> _waiting = [];
    private Task? _writing;

    private sealed record Work(Choice? Choice, string Id, string Rater, TaskCompletionSource<bool> Done);

    /// <summary>Adds a choice; it is durable when the task ends.</summary>
    /// <returns>False when one with its id was there already.</returns>
    public Task<bool> Add(Choice choice) => Enqueue(choice, choice.Id, choice.Rater);

    /// <summary>Takes a choice back; it is gone for good when the task ends.</summary>
    /// <returns>Whether it was there.</returns>
    public Task<bool> Undo(string choice, string rater) => Enqueue(null, choice, rater);

    /// <summary>Writes what waits, and ends.</summary>
    public void Dispose()
    {
        _waiting.CompleteAdding();
        _writing?.Wait();
        _waiting.Dispose();
    }

    private Task<bool> Enqueue(Choice? choice, string id, string rater)
    {
        LazyInitializer.EnsureInitialized(ref _writing, () => Task.Factory.StartNew(Write, TaskCreationOptions.LongRunning));
        var work = new Work(choice, id, rater, new(TaskCreationOptions.RunContinuationsAsynchronously));
        _waiting.Add(work);
        return work.Done.Task;
    }

    private void Write()
    {
        foreach (var first in _waiting.GetConsumingEnumerable())
        {
            var batch = new List<Work> { first };
            while (_waiting.TryTake(out var next)) batch.Add(next);
            for (var start = 0; start < batch.Count;)
            {
                var adds = batch.Skip(start).TakeWhile(work => work.Choice is not null).ToArray();
                if (adds.Length > 1 && Together(adds)) start += adds.Length;
                else Alone(batch[start++]);
            }
        }
    }

    // Whether all went in; one that is refused leaves none in, and they are tried one by one.
    private bool Together(Work[] adds)
    {
        try
        {
            store.Add([.. adds.Select(work => work.Choice!)]);
        }
        catch (Exception fault) when (fault is UserError or IOException)
        {
            return false;
        }
        foreach (var work in adds) work.Done.SetResult(true);
        return true;
    }

    private void Alone(Work work)
    {
        try
        {
            work.Done.SetResult(work.Choice is { } choice ? store.Add(choice) : store.Undo(work.Id, work.Rater));
        }
        catch (Exception fault)
        {
            work.Done.SetException(fault);
        }
    }
}
