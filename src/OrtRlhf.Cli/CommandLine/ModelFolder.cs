using OrtRlhf.Diffusion;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Where models lie: at a path, or among those that ship.</summary>
internal static class ModelFolder
{
    /// <summary>The model that commands take when none is named.</summary>
    public const string Default = "models/shapes";

    private const string Flow = "models/shapes-flow";

    /// <summary>What most commands take.</summary>
    public const string Pipeline = "a pipeline's folder (model_index.json and its components, in diffusers' or Optimum's layout)";

    /// <summary>What commands take that look at single components, too.</summary>
    public const string Components =
        "a pipeline's folder (model_index.json), a folder of components, or one component (config.json with safetensors, or model.onnx)";

    /// <summary>
    /// The folder of a model: the path as it is, or, when there is none and it is <c>models/NAME</c>, the shipped model of that name,
    /// searched
    /// upwards from the current folder and from the program's.
    /// </summary>
    /// <param name="path">A path, or null for <see cref="Default"/>.</param>
    /// <param name="expected">What the command takes, for the error.</param>
    /// <exception cref="UserError">There is no such folder.</exception>
    public static string Find(string? path, string expected = Pipeline)
    {
        var wanted = path ?? Default;
        if (Directory.Exists(wanted)) return wanted;
        if (File.Exists(wanted)) throw new UserError($"model '{wanted}': expected a folder, got a file; give {expected}");
        var shipped = wanted.Replace('\\', '/').TrimEnd('/');
        if (shipped.StartsWith("models/", StringComparison.Ordinal) && !shipped.Contains("..", StringComparison.Ordinal)
            && ShippedModel.Find(shipped, "model_index.json") is { } found) return found;
        throw new UserError(path is null
            ? $"the model that ships, '{Default}', was not found above '{Directory.GetCurrentDirectory()}' nor above "
                + $"'{AppContext.BaseDirectory}'; name a model's folder"
            : $"model '{wanted}': there is no such folder{Near(wanted)}; give {expected}, or none for '{Default}'");
    }

    /// <summary>Whether a path names a pipeline that ships, by default or as <c>models/NAME</c>.</summary>
    /// <param name="path">A path, or null for <see cref="Default"/>.</param>
    public static bool IsShipped(string? path) => (path ?? Default).Replace('\\', '/').TrimEnd('/') is Default or Flow;

    // A slip of the pen is often one letter in the last name.
    private static string Near(string path)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (Path.GetDirectoryName(full) is not { } parent || !Directory.Exists(parent)) return "";
        var near = Spelling.Closest(Path.GetFileName(full),
            Directory.EnumerateDirectories(parent).Take(1000).Select(d => Path.GetFileName(d)!));
        return near is null ? "" : $" (there is '{Path.Combine(Path.GetDirectoryName(path) ?? "", near)}')";
    }
}
