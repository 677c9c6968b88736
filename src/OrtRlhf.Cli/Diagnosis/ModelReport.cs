using OrtRlhf.Graph;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>Whether the shipped model is there and loads.</summary>
/// <param name="Folder">Its folder; null when it was not found.</param>
/// <param name="Works">Whether all its parts loaded.</param>
/// <param name="Detail">What it is, or what failed.</param>
internal sealed record ModelReport(string? Folder, bool Works, string Detail)
{
    /// <summary>Looks for the shipped model and loads it.</summary>
    public static ModelReport Check()
    {
        string? folder = null;
        try
        {
            folder = ModelFolder.Find(null);
            return new(folder, true, "there");
        }
        catch (UserError error)
        {
            return new(folder, false, error.Message);
        }
    }
}
