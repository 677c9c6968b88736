using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Graph.Files;

/// <summary>Names of files that come out of other files: they must not lead out of their folder.</summary>
public static class PlainFile
{
    /// <summary>
    /// Demands that a name is that of a file in a folder, and no link out of it. Links into <c>blobs</c> of a hub cache are followed
    /// (<c>models--name/snapshots/revision/...</c> links to <c>models--name/blobs/...</c>).
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="name">The name, from a file that may come from anywhere.</param>
    /// <param name="owner">Where the name stands, for the message.</param>
    /// <exception cref="UserError">The name leads elsewhere.</exception>
    public static void Check(string folder, string name, string owner)
    {
        if (name.Length is 0 or > 255 || name is "." or ".." || name.AsSpan().IndexOfAny("/\\:\0") >= 0)
            throw new UserError($"{owner}: expected the name of a file in the same folder, got '{SafetensorsHeader.Short(name)}'");
        CheckLink(Path.Combine(folder, name), folder, owner);
    }

    /// <summary>Demands that a file is no link out of a folder (see <see cref="Check"/>).</summary>
    /// <exception cref="UserError">It is one.</exception>
    public static void CheckLink(string path, string folder, string owner)
    {
        var file = new FileInfo(path);
        if (file.LinkTarget is null) return;
        var target = file.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? "";
        if (Inside(target, Path.GetFullPath(folder)) || (Blobs(folder) is { } blobs && Inside(target, blobs))) return;
        throw new UserError($"{owner}: '{SafetensorsHeader.Short(Path.GetFileName(path))}' is a link out of its folder; put the file "
            + $"itself there, as cp -rL does");
    }

    private static bool Inside(string path, string folder) =>
        path.StartsWith(folder.TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    private static string? Blobs(string folder)
    {
        for (var at = new DirectoryInfo(folder); at?.Parent is { } parent; at = parent)
            if (parent.Name == "snapshots" && parent.Parent is { } model
                && model.Name.StartsWith("models--", StringComparison.Ordinal)) return Path.Combine(model.FullName, "blobs");
        return null;
    }
}
