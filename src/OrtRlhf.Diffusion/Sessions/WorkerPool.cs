using System.Runtime.ExceptionServices;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>
/// Workers that do numbered jobs side by side, each on a thread of its own. A small model gains more from this than from threads within its
/// operators, most
/// of which are too short to be shared.
/// </summary>
/// <param name="workers">At least one.</param>
internal sealed class WorkerPool<T>(IReadOnlyList<T> workers) : IDisposable where T : IDisposable
{
    /// <summary>Number of workers.</summary>
    public int Count => workers.Count;

    /// <summary>
    /// How many of <paramref name="total"/> a worker takes at a time, when all of them together take at most <paramref name="most"/>.
    /// </summary>
    public int Share(int total, int most) => Math.Max(1, (Math.Min(total, most) + Count - 1) / Count);

    /// <summary>Does any number of jobs; which worker does which is not told in advance. The first fault stops all and is thrown.</summary>
    public void Run(int count, Action<T, int> job)
    {
        var next = -1;
        SideBySide(Math.Min(count, Count), (worker, _, stopped) =>
        {
            for (int i; !stopped() && (i = Interlocked.Increment(ref next)) < count;) job(worker, i);
        });
    }

    /// <summary>Does at most as many jobs as there are workers, each by the worker of its number.</summary>
    public void RunEach(int count, Action<T, int> job) => SideBySide(count, (worker, i, _) => job(worker, i));

    private void SideBySide(int count, Action<T, int, Func<bool>> work)
    {
        ExceptionDispatchInfo? fault = null;
        var others = Enumerable.Range(1, Math.Max(0, count - 1)).Select(i =>
            Task.Factory.StartNew(() => Guarded(i), TaskCreationOptions.LongRunning)).ToArray();
        if (count > 0) Guarded(0);
        Task.WaitAll(others);
        fault?.Throw();

        void Guarded(int i)
        {
            try
            {
                work(workers[i], i, () => Volatile.Read(ref fault) is not null);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref fault, ExceptionDispatchInfo.Capture(e), null);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var worker in workers) worker.Dispose();
    }
}
