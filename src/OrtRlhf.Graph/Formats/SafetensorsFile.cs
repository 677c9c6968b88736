using Microsoft.Win32.SafeHandles;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Graph.Formats;

/// <summary>The tensors of a safetensors file, or of all files an index names. Their bytes are read when asked for.</summary>
/// <param name="Tensors">Tensors by name.</param>
/// <param name="Metadata">Free text of the header (<c>__metadata__</c>).</param>
public sealed record SafetensorsFile(IReadOnlyDictionary<string, Tensor> Tensors, IReadOnlyDictionary<string, string> Metadata)
{
    /// <summary>A tensor by name.</summary>
    /// <exception cref="UserError">There is none.</exception>
    public Tensor this[string name] =>
        Tensors.TryGetValue(name, out var tensor) ? tensor : throw new UserError($"safetensors: no tensor '{name}' among {Tensors.Count}");

    /// <summary>
    /// Opens a <c>.safetensors</c> file, or the <c>.safetensors.index.json</c> of one that is split over several files of the same folder.
    /// Only headers are read. No file stays open: a tensor opens its own again when it is asked for, and refuses one that has changed
    /// since.
    /// </summary>
    /// <exception cref="UserError">A file is missing, truncated, or not valid: names it and the fault.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            return path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? SafetensorsIndex.Open(path) : OpenSingle(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserError(
                $"safetensors '{path}': {(e is FileNotFoundException or DirectoryNotFoundException ? "no such file" : $"cannot be read ({e.Message.ReplaceLineEndings(" ")})")}", e);
        }
    }

    /// <summary>Writes tensors, each in turn, to a new file that takes the place of an old one when it is whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Tensors in the order of the file.</param>
    /// <param name="metadata">Free text of the header.</param>
    /// <exception cref="UserError">The file cannot be written, or a tensor's type has no name in the format.</exception>
    public static void Write(string path, IEnumerable<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        if (!Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(path)))) throw new UserError(
            $"safetensors '{path}': cannot be written (there is no such folder)");
        AtomicFile.Write(path, stream => Write(stream, tensors, metadata, path));
    }

    /// <summary>Writes tensors, each in turn, to a stream.</summary>
    /// <param name="stream">Receives the file.</param>
    /// <param name="tensors">Tensors in the order of the file.</param>
    /// <param name="metadata">Free text of the header.</param>
    /// <param name="name">What errors call it.</param>
    /// <exception cref="UserError">A tensor's type has no name in the format.</exception>
    public static void Write(Stream stream, IEnumerable<KeyValuePair<string, Tensor>> tensors,
        IReadOnlyDictionary<string, string>? metadata = null, string name = "stream")
    {
        var list = tensors.ToList();
        var header = SafetensorsHeader.Write(name, list, metadata);
        stream.Write(BitConverter.GetBytes((long)header.Length));
        stream.Write(header);
        foreach (var (_, tensor) in list) stream.Write(tensor.Bytes());
    }

    private static SafetensorsFile OpenSingle(string path)
    {
        // A pipe or a device has no length, and to open it may take forever.
        if (new FileInfo(path) is { Exists: true, Length: < 8 } file) throw new UserError(
            $"safetensors '{path}': expected at least 8 bytes, got {file.Length}; the file is truncated");
        using var handle = OpenHandle(path);
        var (size, written) = (RandomAccess.GetLength(handle), File.GetLastWriteTimeUtc(handle));
        var length = BitConverter.ToInt64(Read(path, handle, 0, 8));
        if (length is < 2 or > SafetensorsHeader.Limit || length > size - 8)
            throw new UserError($"safetensors '{path}': expected a header of 2 to {Math.Min(SafetensorsHeader.Limit, size - 8)} bytes, "
                + $"got {(ulong)length}; the file is truncated or not safetensors");
        var start = 8 + length;
        var parsed = SafetensorsHeader.Parse(path, Read(path, handle, 8, length), size - start);
        var place = Path.GetFullPath(path);
        var tensors = parsed.Entries.ToDictionary(
            e => e.Key,
            e => new Tensor(e.Value.Type, e.Value.Dims, () =>
                ReadAgain(place, size, written, start + e.Value.Begin, e.Value.End - e.Value.Begin)),
            StringComparer.Ordinal);
        return new SafetensorsFile(tensors, parsed.Metadata);
    }

    private static byte[] ReadAgain(string path, long size, DateTime written, long offset, long count)
    {
        try
        {
            using var handle = OpenHandle(path);
            if (RandomAccess.GetLength(handle) != size || File.GetLastWriteTimeUtc(handle) != written)
                throw new UserError($"safetensors '{path}': the file has changed since it was opened; expected it to stay as it is while "
                    + $"its tensors are in use");
            return Read(path, handle, offset, count);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"safetensors '{path}': cannot be read any more ({e.Message.ReplaceLineEndings(" ")}); expected it to "
                + $"stay while its tensors are in use", e);
        }
    }

    private static SafeFileHandle OpenHandle(string path) => File.OpenHandle(path, share: FileShare.Read | FileShare.Delete);

    private static byte[] Read(string path, SafeFileHandle handle, long offset, long count)
    {
        if (count > Array.MaxLength) throw new UserError($"safetensors '{path}': a tensor of {count} bytes does not fit into one array");
        var bytes = GC.AllocateUninitializedArray<byte>((int)count);
        for (var done = 0; done < bytes.Length;)
        {
            var got = RandomAccess.Read(handle, bytes.AsSpan(done), offset + done);
            if (got == 0) throw new UserError($"safetensors '{path}': ends at byte {offset + done}; the file has become shorter");
            done += got;
        }
        return bytes;
    }
}
