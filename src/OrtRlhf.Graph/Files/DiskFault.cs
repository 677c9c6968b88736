namespace OrtRlhf.Graph.Files;

/// <summary>Turns what file systems throw into errors that say what to do.</summary>
public static class DiskFault
{
    private const int NoSpaceUnix = 28;
    private const int QuotaUnix = 122;
    private const int DiskFullWindows = unchecked((int)0x80070070);

    /// <summary>Runs <paramref name="action"/>; I/O faults become <see cref="UserError"/>s that name the path.</summary>
    /// <param name="path">What is read or written.</param>
    /// <param name="action">The work.</param>
    /// <exception cref="UserError">The disk is full, access is denied, or any other I/O fault.</exception>
    public static void Guard(string path, Action action) => Guard(path, () =>
    {
        action();
        return true;
    });

    /// <inheritdoc cref="Guard(string, Action)"/>
    public static T Guard<T>(string path, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (IOException fault) when (IsFull(fault))
        {
            throw new UserError($"{path}: the disk is full{FreeSpace(path)}. Free some space; what was there before is intact.", fault);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"{path}: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
    }

    private static bool IsFull(IOException fault) => fault.HResult is NoSpaceUnix or QuotaUnix or DiskFullWindows;

    private static string FreeSpace(string path)
    {
        try
        {
            return $" ({new DriveInfo(Path.GetFullPath(path)).AvailableFreeSpace / 1_000_000} MB left)";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return "";
        }
    }
}
