using Microsoft.Data.Sqlite;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class SqliteStoreTests
{
    [Fact]
    public void Store_KeepsEverything()
    {
        using var folder = new TempFolder();
        StoreContract.Holds(() => PreferenceStore.Open(folder.At("store"), create: true));
    }

    [Fact]
    public void Open_WritesThroughALogThatIsFlushed()
    {
        using var folder = new TempFolder();
        using var store = SqliteStore.Open(new(folder.Path));
        Assert.Equal("wal", Ask(folder, "PRAGMA journal_mode"));
        Assert.Equal(1L, Ask(folder, "PRAGMA user_version"));
    }

    [Fact]
    public void Open_NewerTables_ThrowsForThem()
    {
        using var folder = new TempFolder();
        SqliteStore.Open(new(folder.Path)).Dispose();
        Ask(folder, "PRAGMA user_version = 99");
        Assert.Contains("its tables are of version 99, this program knows up to 1",
            Assert.Throws<UserError>(() => SqliteStore.Open(new(folder.Path))).Message);
    }

    [Fact]
    public void Open_NoDatabase_ThrowsForIt()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("preferences.db"), new string('x', 5000));
        Assert.Contains("damaged or no database", Assert.Throws<StoreError>(() => PreferenceStore.Open(folder.Path)).Message);
        Assert.Contains("made by 'ortrlhf label'", Assert.Throws<UserError>(() => PreferenceStore.Open(folder.At("none"))).Message);
        Assert.False(Directory.Exists(folder.At("none")));
    }

    private static object? Ask(TempFolder folder, string text)
    {
        using var connection = new SqliteConnection($"Data Source={folder.At("preferences.db")};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = text;
        return command.ExecuteScalar();
    }
}
