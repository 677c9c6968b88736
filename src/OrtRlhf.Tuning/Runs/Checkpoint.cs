using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Tuning.Runs;

/// <summary>One file of a checkpoint, before it is written.</summary>
/// <param name="Name">A plain file name.</param>
/// <param name="Write">Writes the content.</param>
public sealed record CheckpointFile(string Name, Action<Stream> Write);

/// <summary>
/// A whole, verified checkpoint: a folder <c>epoch-000012</c> with its files and <c>checkpoint.json</c>, which holds their lengths and
/// SHA-256. It is a <see cref="StagedFolder"/>: at any moment of a kill or a full disk the newest whole one is there. Whatever does not
/// verify is ignored.
/// </summary>
/// <param name="Epoch">Epochs finished when it was written, from 0.</param>
/// <param name="Folder">Its folder.</param>
public sealed record Checkpoint(int Epoch, string Folder)
{
    private const string Prefix = "epoch-";
    private const string ManifestName = "checkpoint.json";

    /// <summary>The path of a file in it.</summary>
    /// <param name="name">The file's name.</param>
    /// <exception cref="UserError">The checkpoint has no such file.</exception>
    public string PathOf(string name)
    {
        var path = Path.Combine(Folder, name);
        return File.Exists(path) ? path : throw new UserError(
            $"{Folder}: the checkpoint has no '{name}'. It was written by another version or method; start a new run.");
    }

    /// <summary>Writes a checkpoint, then removes old ones, and those of later epochs, which this run has not come to.</summary>
    /// <param name="checkpoints">The run's checkpoints folder, <see cref="RunFolder.Checkpoints"/>.</param>
    /// <param name="epoch">Epochs finished, from 0. An existing checkpoint of this epoch is replaced.</param>
    /// <param name="files">Its files.</param>
    /// <param name="keep">How many of the newest to keep, this one included; default 2.</param>
    /// <exception cref="UserError">A full disk or another I/O fault; earlier checkpoints are intact then.</exception>
    public static Checkpoint Save(string checkpoints, int epoch, IReadOnlyList<CheckpointFile> files, int keep = 2)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        ArgumentOutOfRangeException.ThrowIfLessThan(keep, 1);
        var place = Path.Combine(checkpoints, $"{Prefix}{epoch:D6}");
        DiskFault.Guard(place, () =>
        {
            using (var folder = StagedFolder.Begin(place, _ => true))
            {
                WriteFiles(folder.FullPath, epoch, files);
                folder.Finish();
            }
            foreach (var left in Directory.GetDirectories(checkpoints, Prefix + "*").Where(StagedFolder.IsLeftover)) Directory.Delete(left,
                recursive: true);
            var (later, earlier) = (Folders(checkpoints).TakeWhile(other => other.Epoch > epoch),
                Folders(checkpoints).SkipWhile(other => other.Epoch >= epoch));
            foreach (var (_, folder) in later.Concat(earlier.Skip(keep - 1)).ToArray()) Directory.Delete(folder, recursive: true);
        });
        return new Checkpoint(epoch, place);
    }

    /// <summary>The newest checkpoint that is whole; null when there is none.</summary>
    /// <param name="checkpoints">The run's checkpoints folder.</param>
    public static Checkpoint? Latest(string checkpoints)
    {
        if (!Directory.Exists(checkpoints)) return null;
        return Folders(checkpoints).Where(entry => IsWhole(entry.Folder, entry.Epoch))
            .Select(entry => new Checkpoint(entry.Epoch, entry.Folder)).FirstOrDefault();
    }

    private static void WriteFiles(string folder, int epoch, IReadOnlyList<CheckpointFile> files)
    {
        var entries = new List<Entry>();
        foreach (var (name, write) in files)
        {
            if (name != Path.GetFileName(name)
                || name == ManifestName) throw new ArgumentException($"'{name}' cannot be a checkpoint's file.", nameof(files));
            var path = Path.Combine(folder, name);
            using (var stream = File.Create(path)) write(stream);
            entries.Add(new Entry(name, new FileInfo(path).Length, Hash(path)));
        }
        File.WriteAllBytes(Path.Combine(folder, ManifestName),
            JsonSerializer.SerializeToUtf8Bytes(new Manifest(epoch, entries), JsonFile.Indented));
    }

    private static bool IsWhole(string folder, int epoch)
    {
        try
        {
            var manifest = JsonSerializer.Deserialize<Manifest>(File.ReadAllBytes(Path.Combine(folder, ManifestName)), JsonFile.Indented);
            return manifest is not null && manifest.Epoch == epoch && manifest.Files.All(entry =>
                new FileInfo(Path.Combine(folder, entry.Name)) is { Exists: true } file && file.Length == entry.Length
                    && Hash(file.FullName) == entry.Sha256);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or JsonException)
        {
            return false;
        }
    }

    // Newest first.
    private static IEnumerable<(int Epoch, string Folder)> Folders(string checkpoints) =>
        from folder in Directory.GetDirectories(checkpoints, Prefix + "*")
        let digits = Path.GetFileName(folder)[Prefix.Length..]
        where int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out _)
        let epoch = int.Parse(digits, CultureInfo.InvariantCulture)
        orderby epoch descending
        select (epoch, folder);

    private static string Hash(string path)
    {
        using var stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private sealed record Manifest(int Epoch, IReadOnlyList<Entry> Files);

    private sealed record Entry(string Name, long Length, string Sha256);
}
