using Npgsql;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences;

/// <summary>
/// A store on a PostgreSQL server, for teams on several machines; images and trajectories lie in a folder that all of them see. The
/// connection's
/// <c>Search Path</c> chooses a schema of the database.
/// </summary>
public sealed class PostgresStore : IPreferenceStore
{
    // Any number of our own: two programs that start at once make the tables one after the other.
    private const long MigrationLock = 0x4F7274526C6866;
    private readonly NpgsqlDataSource _source;
    private readonly string _place;

    private PostgresStore(PreferenceFolder folder, NpgsqlConnectionStringBuilder connection) =>
        (Folder, _source, _place) = (folder, NpgsqlDataSource.Create(connection), $"{connection.Host}/{connection.Database}");

    /// <inheritdoc/>
    public PreferenceFolder Folder { get; }

    /// <summary>Connects, makes the tables when they are not there, and brings older ones up to date.</summary>
    /// <param name="server"><c>postgresql://USER:PASSWORD@HOST:PORT/DATABASE</c>, or a connection string of Npgsql.</param>
    /// <param name="folder">Where images and trajectories lie.</param>
    /// <exception cref="UserError">The address is not valid, the server refuses, or a newer program made the tables.</exception>
    public static PostgresStore Open(string server, PreferenceFolder folder)
    {
        var store = new PostgresStore(folder, Parse(server));
        try
        {
            store.Write(transaction =>
            {
                var connection = transaction.Connection!;
                RunOn(connection, $"SELECT pg_advisory_xact_lock({MigrationLock})");
                RunOn(connection, "CREATE TABLE IF NOT EXISTS preference_schema (version INT NOT NULL)");
                var version = RunOn(connection, "SELECT max(version) FROM preference_schema") is int known ? known : 0;
                PreferenceTables.RequireKnown(version, store._place);
                foreach (var migration in PreferenceTables.Migrations.Skip(version)) RunOn(connection,
                    migration.Replace("$row", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
                if (version < PreferenceTables.Migrations.Length) RunOn(connection, $"DELETE FROM preference_schema; INSERT INTO "
                    + $"preference_schema VALUES ({PreferenceTables.Migrations.Length})");
                return true;
            });
            DiskFault.Guard(folder.Root, () =>
            {
                Directory.CreateDirectory(folder.Images);
                Directory.CreateDirectory(folder.Trajectories);
            });
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public int Add(IReadOnlyList<Candidate> candidates) => Write(transaction => PreferenceTables.Add(transaction, candidates));

    /// <inheritdoc/>
    public int Add(IReadOnlyList<Choice> choices) => Write(transaction => PreferenceTables.Add(transaction, choices));

    /// <inheritdoc/>
    public bool Undo(string choice, string rater) => Write(transaction => PreferenceTables.Undo(transaction, choice, rater));

    /// <inheritdoc/>
    public IReadOnlyList<Candidate> Candidates() => Guard(() =>
    {
        using var connection = _source.OpenConnection();
        return PreferenceTables.Candidates(connection);
    });

    /// <inheritdoc/>
    public IReadOnlyList<Choice> Choices(string? rater = null) => Guard(() =>
    {
        using var connection = _source.OpenConnection();
        return PreferenceTables.Choices(connection, rater);
    });

    /// <inheritdoc/>
    public void Dispose() => _source.Dispose();

    private static NpgsqlConnectionStringBuilder Parse(string server)
    {
        try
        {
            if (!server.Contains("://", StringComparison.Ordinal)) return new NpgsqlConnectionStringBuilder(server);
            var address = new Uri(server);
            var user = address.UserInfo.Split(':', 2);
            var connection = new NpgsqlConnectionStringBuilder
            {
                Host = Uri.UnescapeDataString(address.Host),
                Database = Uri.UnescapeDataString(address.AbsolutePath.Trim('/'))
            };
            if (address.Port > 0) connection.Port = address.Port;
            if (user[0].Length > 0) connection.Username = Uri.UnescapeDataString(user[0]);
            if (user.Length > 1) connection.Password = Uri.UnescapeDataString(user[1]);
            foreach (var option in address.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
            {
                var (name, value) = option.Split('=', 2) is [var n, var v] ? (n, Uri.UnescapeDataString(v)) : (option, "true");
                connection[name == "sslmode" ? "SSL Mode" : name] = value;
            }
            return connection;
        }
        catch (Exception fault) when (fault is ArgumentException or FormatException or KeyNotFoundException)
        {
            // The text may hold a password: it is not repeated.
            throw new UserError("preferences: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE or 'Host=...;Database=...', got an "
                + "address that is neither", fault);
        }
    }

    private T Write<T>(Func<NpgsqlTransaction, T> work) => Guard(() =>
    {
        using var connection = _source.OpenConnection();
        using var transaction = connection.BeginTransaction();
        var result = work(transaction);
        transaction.Commit();
        return result;
    });

    private static object? RunOn(NpgsqlConnection connection, string text)
    {
        using var command = new NpgsqlCommand(text, connection);
        return command.ExecuteScalar();
    }

    private T Guard<T>(Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception fault) when (fault is NpgsqlException or TimeoutException or System.Net.Sockets.SocketException)
        {
            throw new StoreError(
                $"preferences on '{_place}': {(fault is PostgresException refused ? refused.MessageText : fault.Message)}", fault);
        }
    }
}
