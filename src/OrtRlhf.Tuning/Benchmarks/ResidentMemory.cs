using System.Diagnostics;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Benchmarks;

/// <summary>Memory of this process that lies in RAM, as the operating system counts it.</summary>
internal static class ResidentMemory
{
    private const string ClearRefs = "/proc/self/clear_refs";

    /// <summary>Bytes now.</summary>
    public static long Now => Process.GetCurrentProcess().WorkingSet64;

    /// <summary>Starts <see cref="ProcessMemory.Peak"/> again from what is in use now, where the system can (Linux).</summary>
    public static void RestartPeak()
    {
        if (File.Exists(ClearRefs)) File.WriteAllText(ClearRefs, "5");
    }
}
