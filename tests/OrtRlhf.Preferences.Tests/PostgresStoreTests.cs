using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Preferences.Tests;

public class PostgresStoreTests(PostgresServer server) : IClassFixture<PostgresServer>
{
    [Fact, NeedsPostgres]
    public void Store_KeepsEverything()
    {
        using var folder = new TempFolder();
        StoreContract.Holds(() => PreferenceStore.Open(server.Store(folder.Path)));

        using var again = PreferenceStore.Open(
            $"Host=127.0.0.1;Port={server.Port};Database=postgres;Username=rater;Password={PostgresServer.Password}#images={folder.Path}");
        Assert.Equal(5, again.Candidates().Count);
    }

    [Fact, NeedsPostgres]
    public void Open_WrongPassword_ThrowsWithoutIt()
    {
        var fault = Assert.Throws<StoreError>(() =>
            PreferenceStore.Open($"postgresql://rater:wrongsecret@127.0.0.1:{server.Port}/postgres#images=/tmp"));
        Assert.Contains("password authentication failed", fault.Message);
        Assert.DoesNotContain("wrongsecret", fault.ToString());
    }

    [Theory]
    [InlineData("postgresql://rater@host/db", "#images=FOLDER")]
    [InlineData("Host=x;Nonsense=secret#images=a", "expected postgresql://")]
    public void Open_BadAddress_SaysWhatIsExpected(string place, string expected) =>
        Assert.Contains(expected, Assert.Throws<UserError>(() => PreferenceStore.Open(place)).Message);
}
