using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>Finds a store by its name on a command line.</summary>
public static class PreferenceStore
{
    private const string Images = "images=";

    /// <summary>
    /// Opens a store: a folder (<see cref="SqliteStore"/>), or a PostgreSQL server by
    /// <c>postgresql://USER:PASSWORD@HOST/DATABASE#images=FOLDER</c> or a
    /// connection string of Npgsql, <c>Host=HOST;Database=NAME#images=FOLDER</c>, with a folder that all share.
    /// </summary>
    /// <param name="place">Folder or server.</param>
    /// <param name="create">Whether to make a folder that is not there.</param>
    /// <exception cref="UserError">There is no such store, or it cannot be opened.</exception>
    public static IPreferenceStore Open(string place, bool create = false)
    {
        if (!IsServer(place))
        {
            var folder = new PreferenceFolder(place);
            if (!create && !File.Exists(folder.Database)) throw new UserError($"preferences '{place}': expected a folder with "
                + $"{Path.GetFileName(folder.Database)}, made by 'ortrlhf label'; there is none");
            return SqliteStore.Open(folder);
        }
        var (server, options) = place.IndexOf('#') is var at and >= 0 ? (place[..at], place[(at + 1)..]) : (place, "");
        if (!options.StartsWith(Images, StringComparison.Ordinal) || options.Length == Images.Length)
            throw new UserError("preferences on a server: expected the shared folder of the images behind the address, '#images=FOLDER'");
        return PostgresStore.Open(server, new PreferenceFolder(options[Images.Length..]));
    }

    /// <summary>Whether a place is a server's, and so may hold a password that must not be shown.</summary>
    public static bool IsServer(string place) =>
        place.StartsWith("postgres://", StringComparison.OrdinalIgnoreCase)
            || place.StartsWith("postgresql://", StringComparison.OrdinalIgnoreCase)
        || place.Contains("Host=", StringComparison.OrdinalIgnoreCase) || place.Contains("Server=", StringComparison.OrdinalIgnoreCase);

    /// <summary>Adds one choice; see <see cref="IPreferenceStore.Add(IReadOnlyList{Choice})"/>.</summary>
    public static bool Add(this IPreferenceStore store, Choice choice) => store.Add([choice]) > 0;
}
