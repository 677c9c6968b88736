namespace OrtRlhf.Graph.Files;

/// <summary>
/// A folder that is there whole or not at all: it is filled under the name <c>FOLDER.partial</c>, flushed to the disk and renamed when it
/// is complete. What a killed process left is taken away by the next one that writes the same folder; two at a time are refused.
/// </summary>
public sealed class StagedFolder : IDisposable
{
    private const string Lock = ".lock", Partial = ".partial", Former = ".former";
    private readonly string _target;
    private readonly FileStream _lock;

    private StagedFolder(string target, string path, FileStream held) => (_target, FullPath, _lock) = (target, path, held);

    /// <summary>Where to put the files.</summary>
    public string FullPath { get; }

    /// <summary>Begins a folder.</summary>
    /// <param name="target">Its name when it is whole.</param>
    /// <param name="isOurs">Whether a file of this name in an earlier folder may be replaced.</param>
    /// <exception cref="UserError">There is such a folder with other files, another process writes it, or the place cannot be
    /// written.</exception>
    public static StagedFolder Begin(string target, Func<string, bool> isOurs)
    {
        target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(target));
        return DiskFault.Guard(target, () =>
        {
            if (Directory.Exists(target) && Directory.EnumerateFiles(target, "*", SearchOption.AllDirectories).FirstOrDefault(f =>
                !isOurs(Path.GetFileName(f))) is { } other)
                throw new UserError(
                    $"'{target}' holds other files, such as '{Path.GetRelativePath(target, other)}'; give a new folder, or empty this one");
            var path = target + Partial;
            Directory.CreateDirectory(path);
            var held = Hold(path);
            foreach (var entry in new DirectoryInfo(path).EnumerateFileSystemInfos().Where(e => e.Name != Lock).ToList())
            {
                if (entry is DirectoryInfo { LinkTarget: null } folder) folder.Delete(recursive: true);
                else entry.Delete();
            }
            return new StagedFolder(target, path, held);
        });
    }

    /// <summary>Puts the folder in its place; an earlier one goes away then.</summary>
    public void Finish() => DiskFault.Guard(_target, () =>
    {
        _lock.Dispose();
        File.Delete(Path.Combine(FullPath, Lock));
        foreach (var file in Directory.EnumerateFiles(FullPath, "*", SearchOption.AllDirectories))
        {
            // Windows flushes what may be written, others anything.
            using var handle = File.OpenHandle(file, access: OperatingSystem.IsWindows() ? FileAccess.Write : FileAccess.Read);
            RandomAccess.FlushToDisk(handle);
        }
        foreach (var folder in Directory.EnumerateDirectories(FullPath, "*", SearchOption.AllDirectories)
            .Prepend(FullPath)) AtomicFile.FlushFolder(folder);
        var former = _target + Former;
        if (Directory.Exists(former)) Directory.Delete(former, recursive: true);
        if (Directory.Exists(_target)) Directory.Move(_target, former);
        Directory.Move(FullPath, _target);
        AtomicFile.FlushFolder(Path.GetDirectoryName(_target)!);
        if (Directory.Exists(former)) Directory.Delete(former, recursive: true);
    });

    /// <summary>Whether a name is one that a folder has while it is filled or replaced, and a killed process leaves behind.</summary>
    public static bool IsLeftover(string name) =>
        name.EndsWith(Partial, StringComparison.Ordinal) || name.EndsWith(Former, StringComparison.Ordinal);

    /// <summary>Takes the files away unless the folder was finished.</summary>
    public void Dispose()
    {
        _lock.Dispose();
        if (Directory.Exists(FullPath)) Directory.Delete(FullPath, recursive: true);
    }

    private static FileStream Hold(string path)
    {
        try
        {
            return new FileStream(Path.Combine(path, Lock), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException fault) when (File.Exists(Path.Combine(path, Lock)))
        {
            throw new UserError($"'{path}' is being written by another process; wait for it, or give another folder", fault);
        }
    }
}
