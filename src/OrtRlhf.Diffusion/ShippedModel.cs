namespace OrtRlhf.Diffusion;

/// <summary>The models that ship, in the folder <c>models</c> of the repository or beside the program.</summary>
public static class ShippedModel
{
    /// <summary>
    /// The folder <c>models/NAME</c> that holds a file, searched upwards from the current folder and from the program's; null where there
    /// is none.
    /// </summary>
    /// <param name="name"><c>models/NAME</c>.</param>
    /// <param name="file">A file that the folder must have, such as <c>model_index.json</c>.</param>
    public static string? Find(string name, string file)
    {
        foreach (var start in new[] { Directory.GetCurrentDirectory(), AppContext.BaseDirectory })
            for (var folder = new DirectoryInfo(start); folder is not null; folder = folder.Parent)
                if (File.Exists(Path.Combine(folder.FullName, name, file))) return Path.Combine(folder.FullName, name);
        return null;
    }
}
