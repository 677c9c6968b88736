using OrtRlhf.Graph;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Checks where results will go before the work that makes them.</summary>
internal static class OutputPlace
{
    /// <summary>Refuses a folder that cannot be one, as a file stands in its way. Makes nothing.</summary>
    /// <param name="option">The option, for the error.</param>
    /// <param name="folder">The folder; empty for the current one.</param>
    /// <exception cref="UserError">A file is there, or on the way.</exception>
    public static void RequireFolder(string option, string folder)
    {
        for (var path = Path.GetFullPath(folder.Length == 0 ? "." : folder); path is not null; path = Path.GetDirectoryName(path))
        {
            if (Directory.Exists(path)) return;
            if (File.Exists(path)) throw new UserError($"--{option}: expected a folder, but '{path}' is a file; give another place");
        }
    }
}
