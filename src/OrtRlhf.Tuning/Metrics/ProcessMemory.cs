using System.Diagnostics;
using System.Globalization;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>Memory of this process.</summary>
internal static class ProcessMemory
{
    /// <summary>Largest resident size so far, in bytes: Linux' VmHWM, elsewhere the peak working set.</summary>
    public static long Peak()
    {
        const string status = "/proc/self/status", field = "VmHWM:";
        if (File.Exists(status)
            && File.ReadLines(status).FirstOrDefault(line => line.StartsWith(field, StringComparison.Ordinal)) is { } line)
            return 1024 * long.Parse(line[field.Length..].Replace("kB", "", StringComparison.Ordinal), CultureInfo.InvariantCulture);
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
