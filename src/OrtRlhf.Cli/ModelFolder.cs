using OrtRlhf.Graph;
using OrtRlhf.Tuning;

namespace OrtRlhf.Cli;

/// <summary>Where models lie: at a path, or among those that ship.</summary>
internal static class ModelFolder
{
    /// <summary>The model that commands take when none is named.</summary>
    public const string Default = "models/shapes";

    /// <summary>
    /// The folder of a model: the path as it is, or, when there is none and it is <c>models/NAME</c>, the shipped model of that name, searched
    /// upwards from the current folder and from the program's.
    /// </summary>
    /// <param name="path">A path, or null for <see cref="Default"/>.</param>
    /// <exception cref="UserError">There is no such folder.</exception>
    public static string Find(string? path)
    {
        var wanted = path ?? Default;
        if (Directory.Exists(wanted)) return wanted;
        if (File.Exists(wanted)) throw new UserError($"model '{wanted}': expected a folder, got a file; give the folder that holds model_index.json");
        var shipped = wanted.Replace('\\', '/').TrimEnd('/');
        if (shipped.StartsWith("models/", StringComparison.Ordinal) && !shipped.Contains("..", StringComparison.Ordinal)
            && ShippedModel.Find(shipped, "model_index.json") is { } found) return found;
        throw new UserError(path is null
            ? $"the model that ships, '{Default}', was not found above '{Directory.GetCurrentDirectory()}' nor above '{AppContext.BaseDirectory}'; name a model's folder"
            : $"model '{wanted}': there is no such folder; give a folder with a model_index.json, or none for '{Default}'");
    }
}
