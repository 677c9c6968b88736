using Microsoft.Win32.SafeHandles;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// Weights in files beside a model. A model from elsewhere must not read other files: only plain files in its folder are opened.
/// </summary>
internal sealed class ExternalFiles(string folder)
{
    private readonly Dictionary<string, SafeFileHandle> _open = new(StringComparer.Ordinal);

    /// <summary>A tensor whose bytes are read when asked for.</summary>
    /// <exception cref="UserError">The file is missing or lies elsewhere, or does not hold those bytes.</exception>
    public Tensor Tensor(string owner, ElementType type, long[] dims, long bytes, IReadOnlyDictionary<string, string> place)
    {
        if (!place.TryGetValue("location", out var location)
            || location.Length == 0) throw new UserError($"{owner}: external data without a location");
        var offset = Number(owner, "offset", place, 0);
        var length = Number(owner, "length", place, bytes);
        if (length != bytes) throw new UserError($"{owner}: expected {bytes} bytes of external data, the model says {length}");
        if (bytes == 0) return new Tensor(type, dims, []);
        var handle = Open(owner, location);
        var size = RandomAccess.GetLength(handle);
        if (offset > size || bytes > size - offset) throw new UserError(
            $"{owner}: expected {bytes} bytes at {offset} of '{location}', which has {size}; the file is truncated or not the model's own");
        return new Tensor(type, dims, () => Read(owner, location, handle, offset, bytes));
    }

    // The handle stays open, so that the tensor's bytes stay the same when the file is replaced by a new one.
    private static byte[] Read(string owner, string location, SafeFileHandle handle, long offset, long bytes)
    {
        if (bytes > Array.MaxLength) throw new UserError($"{owner}: {bytes} bytes do not fit into one array");
        var result = GC.AllocateUninitializedArray<byte>((int)bytes);
        for (var done = 0; done < result.Length;)
        {
            var got = RandomAccess.Read(handle, result.AsSpan(done), offset + done);
            if (got == 0) throw new UserError($"{owner}: '{location}' has become shorter");
            done += got;
        }
        return result;
    }

    private SafeFileHandle Open(string owner, string location)
    {
        if (_open.TryGetValue(location, out var handle)) return handle;
        var parts = location.Replace('\\', '/').Split('/');
        if (Path.IsPathRooted(location) || location.Contains(':') || location.Contains('\0') || parts.Any(p => p is "" or "." or ".."))
            throw new UserError(
                $"{owner}: external data must lie in the model's folder, got '{location.Replace('\0', ' ').ReplaceLineEndings(" ")}'");
        var path = folder;
        foreach (var part in parts)
        {
            path = Path.Combine(path, part);
            FileSystemInfo info = Directory.Exists(path) ? new DirectoryInfo(path) : new FileInfo(path);
            if (info.LinkTarget is not null) throw new UserError(
                $"{owner}: external data '{location}' is a link; put the file itself into the model's folder");
        }
        if (!File.Exists(path)) throw new UserError($"{owner}: no file '{location}' beside the model; it holds the model's weights");
        // A pipe or a device has no length, and to open it may take forever.
        if (new FileInfo(path).Length == 0) throw new UserError(
            $"{owner}: external data '{location}' is empty; the file is truncated or not the model's own");
        return _open[location] = File.OpenHandle(path, share: FileShare.Read | FileShare.Delete);
    }

    private static long Number(string owner, string key, IReadOnlyDictionary<string, string> place, long otherwise)
    {
        if (!place.TryGetValue(key, out var text)) return otherwise;
        return long.TryParse(text, out var number) && number >= 0 ? number
            : throw new UserError($"{owner}: expected a number as {key} of external data, got '{text}'");
    }
}
