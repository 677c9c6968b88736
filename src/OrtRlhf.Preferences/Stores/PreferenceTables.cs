using System.Data.Common;
using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Preferences;

/// <summary>
/// The two tables of a store, in SQL that SQLite and PostgreSQL share; lists are JSON, times text, so that everything comes back exactly.
/// </summary>
internal static class PreferenceTables
{
    /// <summary>
    /// The schema's versions: entry n makes version n+1 of version n. What has been released is never changed; changes go behind it.
    /// <c>$row</c> stands for the dialect's column that counts rows.
    /// </summary>
    public static readonly string[] Migrations =
    [
        """
        CREATE TABLE preference_candidates (
          position $row, id TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL, image TEXT NOT NULL, seed BIGINT, trajectory TEXT, source TEXT);
        CREATE TABLE preference_choices (
          position $row, id TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL, candidates TEXT NOT NULL, ranks TEXT NOT NULL, rater TEXT NOT NULL,
          mode TEXT NOT NULL, time TEXT NOT NULL, comment TEXT, weight DOUBLE PRECISION NOT NULL, aspect TEXT);
        CREATE INDEX preference_choices_rater ON preference_choices (rater);
        """,
    ];

    /// <summary>Refuses a schema of a later program.</summary>
    public static void RequireKnown(long version, string place)
    {
        if (version > Migrations.Length)
            throw new UserError($"preferences '{place}': its tables are of version {version}, this program knows up to "
                + $"{Migrations.Length}; use the newer program that made them");
    }

    public static int Add(DbTransaction transaction, IReadOnlyList<Candidate> candidates)
    {
        var added = 0;
        using var insert = Command(transaction, """
            INSERT INTO preference_candidates (id, prompt, image, seed, trajectory, source) VALUES (@id, @prompt, @image, @seed, @trajectory, @source) ON CONFLICT (id) DO NOTHING
            """);
        foreach (var candidate in candidates)
        {
            candidate.Validate();
            Set(insert, ("@id", candidate.Id), ("@prompt", candidate.Prompt), ("@image", candidate.Image), ("@seed", candidate.Seed),
                ("@trajectory", candidate.Trajectory), ("@source", candidate.Source));
            if (insert.ExecuteNonQuery() > 0) added++;
            else if (Find(transaction, candidate.Id) is { } other && other != candidate) throw new UserError(
                $"candidate '{candidate.Id}': another one with this id is in the store already, for \"{other.Prompt}\"");
        }
        return added;
    }

    public static int Add(DbTransaction transaction, IReadOnlyList<Choice> choices)
    {
        var (added, known) = (0, new Dictionary<string, string?>(StringComparer.Ordinal));
        using var insert = Command(transaction, """
            INSERT INTO preference_choices (id, prompt, candidates, ranks, rater, mode, time, comment, weight, aspect)
            VALUES (@id, @prompt, @candidates, @ranks, @rater, @mode, @time, @comment, @weight, @aspect) ON CONFLICT (id) DO NOTHING
            """);
        foreach (var choice in choices)
        {
            choice.Validate();
            foreach (var id in choice.Candidates)
            {
                if (!known.TryGetValue(id, out var prompt)) known[id] = prompt = Find(transaction, id)?.Prompt;
                if (prompt != choice.Prompt) throw new UserError($"choice '{choice.Id}': candidate '{id}' is "
                    + $"{(prompt is null ? "not in the store" : $"for another prompt, \"{prompt}\"")}; add candidates before choices");
            }
            Set(insert,
                ("@id", choice.Id), ("@prompt", choice.Prompt), ("@candidates", JsonSerializer.Serialize(choice.Candidates,
                    JsonFile.Line)), ("@ranks", JsonSerializer.Serialize(choice.Ranks, JsonFile.Line)),
                ("@rater", choice.Rater), ("@mode", JsonNamingPolicy.CamelCase.ConvertName(choice.Mode.ToString())),
                    ("@time", choice.Time.ToString("O")), ("@comment", choice.Comment),
                ("@weight", choice.Weight), ("@aspect", choice.Aspect));
            added += insert.ExecuteNonQuery();
        }
        return added;
    }

    public static bool Undo(DbTransaction transaction, string choice, string rater)
    {
        using var delete = Command(transaction, "DELETE FROM preference_choices WHERE id = @id AND rater = @rater");
        Set(delete, ("@id", choice), ("@rater", rater));
        return delete.ExecuteNonQuery() > 0;
    }

    public static IReadOnlyList<Candidate> Candidates(DbConnection connection)
    {
        using var select = connection.CreateCommand();
        select.CommandText = "SELECT id, prompt, image, seed, trajectory, source FROM preference_candidates ORDER BY position";
        using var rows = select.ExecuteReader();
        var candidates = new List<Candidate>();
        while (rows.Read()) candidates.Add(Candidate(rows));
        return candidates;
    }

    public static IReadOnlyList<Choice> Choices(DbConnection connection, string? rater)
    {
        using var select = connection.CreateCommand();
        select.CommandText = $"SELECT id, prompt, candidates, ranks, rater, mode, time, comment, weight, aspect FROM preference_choices "
            + $"{(rater is null ? "" : "WHERE rater = @rater")} ORDER BY position";
        if (rater is not null) Set(select, ("@rater", rater));
        using var rows = select.ExecuteReader();
        var choices = new List<Choice>();
        while (rows.Read())
        {
            choices.Add(new Choice(
                rows.GetString(0), rows.GetString(1), JsonSerializer.Deserialize<string[]>(rows.GetString(2))!,
                    JsonSerializer.Deserialize<int[]>(rows.GetString(3))!, rows.GetString(4),
                Enum.Parse<ChoiceMode>(rows.GetString(5), ignoreCase: true),
                    DateTimeOffset.Parse(rows.GetString(6), System.Globalization.CultureInfo.InvariantCulture),
                Text(rows, 7), rows.GetDouble(8), Text(rows, 9)));
        }
        return choices;
    }

    private static Candidate? Find(DbTransaction transaction, string id)
    {
        using var select = Command(transaction,
            "SELECT id, prompt, image, seed, trajectory, source FROM preference_candidates WHERE id = @id");
        Set(select, ("@id", id));
        using var rows = select.ExecuteReader();
        return rows.Read() ? Candidate(rows) : null;
    }

    private static Candidate Candidate(DbDataReader rows) =>
        new(rows.GetString(0), rows.GetString(1), rows.GetString(2), rows.IsDBNull(3) ? null : rows.GetInt64(3), Text(rows, 4),
            Text(rows, 5));

    private static string? Text(DbDataReader rows, int column) => rows.IsDBNull(column) ? null : rows.GetString(column);

    private static DbCommand Command(DbTransaction transaction, string text)
    {
        var command = transaction.Connection!.CreateCommand();
        (command.CommandText, command.Transaction) = (text, transaction);
        return command;
    }

    private static void Set(DbCommand command, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        command.Parameters.Clear();
        foreach (var (name, value) in parameters)
        {
            var parameter = command.CreateParameter();
            (parameter.ParameterName, parameter.Value) = (name, value ?? DBNull.Value);
            if (value is null) parameter.DbType = name == "@seed" ? System.Data.DbType.Int64 : System.Data.DbType.String;
            command.Parameters.Add(parameter);
        }
    }
}
