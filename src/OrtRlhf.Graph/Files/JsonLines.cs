using System.Text;
using System.Text.Json;

namespace OrtRlhf.Graph.Files;

/// <summary>
/// A file of JSON records, one a line and one an epoch (metrics.jsonl, timings.jsonl). Each line is written in one call
/// and is on the disk when <see cref="Append"/> returns; a line cut off by a kill is dropped by the next run.
/// </summary>
/// <typeparam name="T">The record.</typeparam>
public sealed class JsonLines<T> : IDisposable
{
    private readonly FileStream stream;
    private readonly string path;

    private JsonLines(string path, FileStream stream) => (this.path, this.stream) = (path, stream);

    /// <summary>Opens the file for a run that continues after an epoch; later lines, and a broken last one, are cut off.</summary>
    /// <param name="path">The file; made when missing.</param>
    /// <param name="afterEpoch">The epoch of the checkpoint resumed from; 0 begins anew and empties the file.</param>
    /// <param name="epoch">The epoch of a record.</param>
    /// <exception cref="UserError">The file cannot be opened, or lacks epochs up to <paramref name="afterEpoch"/>.</exception>
    public static JsonLines<T> Open(string path, int afterEpoch, Func<T, int> epoch)
    {
        var (length, last) = (0L, 0);
        if (afterEpoch > 0)
        {
            foreach (var (record, end) in Lines(path))
            {
                if (epoch(record) > afterEpoch) break;
                (length, last) = (end, epoch(record));
            }
            if (last != afterEpoch)
            {
                throw new UserError($"{path}: expected a line for each epoch up to {afterEpoch}, the checkpoint's, got {last}. Restore "
                    + $"the file, or start a new run.");
            }
        }
        return DiskFault.Guard(path, () =>
        {
            var stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
            if (stream.Length > length) stream.SetLength(length);
            stream.Seek(0, SeekOrigin.End);
            return new JsonLines<T>(path, stream);
        });
    }

    /// <summary>All whole records of a file, in order.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="UserError">Missing, unreadable, or a line that is not such a record.</exception>
    public static IReadOnlyList<T> Read(string path) => [.. Lines(path).Select(line => line.Record)];

    /// <summary>Adds a line.</summary>
    /// <param name="record">The record.</param>
    /// <exception cref="UserError">The disk is full, or another I/O fault.</exception>
    public void Append(T record)
    {
        var line = JsonSerializer.Serialize(record, JsonFile.Line) + "\n";
        DiskFault.Guard(path, () =>
        {
            stream.Write(Encoding.UTF8.GetBytes(line));
            stream.Flush(flushToDisk: true);
        });
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => stream.Dispose();

    private static List<(T Record, long End)> Lines(string path)
    {
        var bytes = DiskFault.Guard(path, () => File.ReadAllBytes(path));
        var lines = new List<(T, long)>();
        for (var start = 0; ;)
        {
            var length = bytes.AsSpan(start).IndexOf((byte)'\n');
            if (length < 0) return lines;
            try
            {
                lines.Add((JsonSerializer.Deserialize<T>(bytes.AsSpan(start, length), JsonFile.Line)!, start + length + 1));
            }
            catch (JsonException fault)
            {
                throw new UserError(
                    $"{path}, line {lines.Count + 1}: not the JSON expected: {fault.Message.ReplaceLineEndings(" ")}", fault);
            }
            start += length + 1;
        }
    }
}
