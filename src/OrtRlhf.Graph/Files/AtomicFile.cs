using System.Runtime.InteropServices;
using System.Text;

namespace OrtRlhf.Graph.Files;

/// <summary>
/// Files that are there whole or not at all: written beside their place, flushed to the disk, then renamed over it. A crash,
/// a kill or a full disk leaves the earlier file as it was.
/// </summary>
public static partial class AtomicFile
{
    /// <summary>Writes a file.</summary>
    /// <param name="path">Its place; folders on the way are made.</param>
    /// <param name="write">Writes the content into a stream that can seek.</param>
    /// <exception cref="UserError">Full disk, no access or another I/O fault; nothing has changed then.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var temporary = $"{path}.{Environment.ProcessId}-{Guid.NewGuid():N}.tmp";
        DiskFault.Guard(path, () =>
        {
            try
            {
                Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
                using (var stream = new FileStream(temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16))
                {
                    write(stream);
                    stream.Flush(flushToDisk: true);
                }
                File.Move(temporary, path, overwrite: true);
                FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
            }
            catch
            {
                File.Delete(temporary);
                throw;
            }
        });
    }

    /// <summary>Writes bytes.</summary>
    /// <param name="path">Its place; folders on the way are made.</param>
    /// <param name="bytes">The content.</param>
    /// <exception cref="UserError">As <see cref="Write(string, Action{Stream})"/>.</exception>
    public static void Write(string path, byte[] bytes) => Write(path, stream => stream.Write(bytes));

    /// <summary>Writes UTF-8 text without a byte order mark.</summary>
    /// <param name="path">Its place; folders on the way are made.</param>
    /// <param name="text">The content.</param>
    /// <exception cref="UserError">As <see cref="Write(string, Action{Stream})"/>.</exception>
    public static void Write(string path, string text) => Write(path, Encoding.UTF8.GetBytes(text));

    /// <summary>Makes renames in a folder last through a power cut, where the system can.</summary>
    internal static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows()) return;
        var descriptor = Open(folder, flags: 0);
        if (descriptor < 0) return;
        _ = Fsync(descriptor);
        _ = Close(descriptor);
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
