using Microsoft.Playwright;
using OrtRlhf.Preferences;
using OrtRlhf.Tests;
using static OrtRlhf.Cli.Tests.Web.LabelPageTests;

namespace OrtRlhf.Cli.Tests.Web;

/// <summary>The page with its choices on a team's server.</summary>
public class LabelPostgresTests(PostgresServer database) : IClassFixture<PostgresServer>
{
    [Fact, NeedsChromium, NeedsPostgres]
    public async Task Page_ItsServerAndTheDatabaseAreKilled_KeepsExactlyWhatWasChosen()
    {
        using var folder = new TempFolder();
        string[] arguments = ["--images", LabelProcess.Images(folder.At("in"), 12), "--store", database.Store(folder.At("shared")),
            "--port", $"{LabelProcess.FreePort()}", "--check-every", "0"];
        var server = new LabelProcess(arguments);
        try
        {
            using var playwright = await Playwright.CreateAsync();
            await using var browser = await Launch(playwright);
            var faults = new List<string>();
            var page = await Enter(browser, server, "Ada", faults);
            var given = new List<Given>();
            for (var n = 0; n < 12; n++)
            {
                await page.WaitForFunctionAsync(Settled, n);
                var shown = await Shown(page);
                // Whatever is gone when the key is pressed, the page tries until its choice is saved.
                if (n == 4) server.Kill();
                else if (n == 8) database.Kill();
                await page.Keyboard.PressAsync(n % 3 == 1 ? "2" : n % 3 == 2 ? "t" : "1");
                given.Add(new(shown, n % 3 == 1 ? [1, 0] : n % 3 == 2 ? [0, 0] : [0, 1]));
                if (n is not (4 or 8)) continue;
                await page.WaitForSelectorAsync("#trouble:not([hidden])");
                if (n == 8) database.Start();
                else
                {
                    server.Dispose();
                    server = new LabelProcess(arguments);
                }
            }
            await page.WaitForFunctionAsync("() => document.body.dataset.screen === 'done'");
            Assert.Equal("12", await page.TextContentAsync("#saved"));
            Assert.Empty(faults);
            using var store = PreferenceStore.Open(database.Store(folder.At("shared")));
            Assert.Equal(Write(given),
                Write(store.Choices("Ada").Select(choice => new Given([.. choice.Candidates], [.. choice.Ranks], choice.Comment))));
        }
        finally
        {
            server.Dispose();
        }
    }
}
