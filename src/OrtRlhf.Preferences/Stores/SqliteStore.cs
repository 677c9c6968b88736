using Microsoft.Data.Sqlite;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences;

/// <summary>
/// A store in a folder: a SQLite database with a write-ahead log, each transaction flushed to the disk (<c>synchronous = FULL</c>), so that
/// neither a kill
/// nor a power cut loses what was added. Several processes of one machine may use it at once; network file systems are not for it.
/// </summary>
public sealed class SqliteStore : IPreferenceStore
{
    private const int SecondsToWait = 30;
    private readonly SqliteConnection _writer;
    private readonly string _connection;
    private readonly Lock _gate = new();

    private SqliteStore(PreferenceFolder folder, string connection)
    {
        (Folder, _connection) = (folder, connection);
        _writer = Connect();
    }

    /// <inheritdoc/>
    public PreferenceFolder Folder { get; }

    /// <summary>Opens the store of a folder; makes both when they are not there, and brings older tables up to date.</summary>
    /// <param name="folder">The folder.</param>
    /// <exception cref="UserError">The folder cannot be written, the file is no database, or a newer program made it.</exception>
    public static SqliteStore Open(PreferenceFolder folder)
    {
        DiskFault.Guard(folder.Root, () =>
        {
            Directory.CreateDirectory(folder.Images);
            Directory.CreateDirectory(folder.Trajectories);
        });
        return Guard(folder, () =>
        {
            var store = new SqliteStore(folder, new SqliteConnectionStringBuilder
            {
                DataSource = folder.Database,
                DefaultTimeout = SecondsToWait,
                Pooling = false
            }.ToString());
            try
            {
                store.Migrate();
                return store;
            }
            catch
            {
                store.Dispose();
                throw;
            }
        });
    }

    /// <inheritdoc/>
    public int Add(IReadOnlyList<Candidate> candidates) => Write(transaction => PreferenceTables.Add(transaction, candidates));

    /// <inheritdoc/>
    public int Add(IReadOnlyList<Choice> choices) => Write(transaction => PreferenceTables.Add(transaction, choices));

    /// <inheritdoc/>
    public bool Undo(string choice, string rater) => Write(transaction => PreferenceTables.Undo(transaction, choice, rater));

    /// <inheritdoc/>
    public IReadOnlyList<Candidate> Candidates() => Read(PreferenceTables.Candidates);

    /// <inheritdoc/>
    public IReadOnlyList<Choice> Choices(string? rater = null) => Read(connection => PreferenceTables.Choices(connection, rater));

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate) _writer.Dispose();
    }

    private void Migrate()
    {
        RunOn(_writer, "PRAGMA journal_mode = WAL");
        using var transaction = _writer.BeginTransaction();
        var version = RunOn(_writer, "PRAGMA user_version") is long known ? known : 0;
        PreferenceTables.RequireKnown(version, Folder.Root);
        foreach (var migration in PreferenceTables.Migrations.Skip((int)version)) RunOn(_writer,
            migration.Replace("$row", "INTEGER PRIMARY KEY AUTOINCREMENT"));
        if (version < PreferenceTables.Migrations.Length) RunOn(_writer, $"PRAGMA user_version = {PreferenceTables.Migrations.Length}");
        transaction.Commit();
    }

    private T Write<T>(Func<SqliteTransaction, T> work) => Guard(Folder, () =>
    {
        lock (_gate)
        {
            using var transaction = _writer.BeginTransaction();
            var result = work(transaction);
            transaction.Commit();
            return result;
        }
    });

    // Reading goes beside writing: each reader sees the last commit.
    private T Read<T>(Func<SqliteConnection, T> work) => Guard(Folder, () =>
    {
        using var connection = Connect();
        return work(connection);
    });

    private SqliteConnection Connect()
    {
        var connection = new SqliteConnection(_connection);
        connection.Open();
        RunOn(connection, "PRAGMA synchronous = FULL");
        return connection;
    }

    private static object? RunOn(SqliteConnection connection, string text)
    {
        using var command = connection.CreateCommand();
        command.CommandText = text;
        return command.ExecuteScalar();
    }

    private static T Guard<T>(PreferenceFolder folder, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (SqliteException fault)
        {
            var remedy = fault.SqliteErrorCode switch
            {
                5 or 6 => "; another program writes to it, try again when it is done",
                8 => "; give yourself the right to write there",
                11 or 26 => "; it is damaged or no database: restore it, or name another folder",
                13 => "; free some space, what was there before is intact",
                _ => "",
            };
            throw new StoreError($"preferences '{folder.Database}': {fault.Message.TrimEnd('.')}{remedy}", fault);
        }
    }
}
