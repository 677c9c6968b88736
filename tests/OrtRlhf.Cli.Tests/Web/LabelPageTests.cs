using System.Reflection;
using System.Text.Json;
using Microsoft.Playwright;
using OrtRlhf.Preferences;
using OrtRlhf.Tests;
using Xunit.v3;

namespace OrtRlhf.Cli.Tests.Web;

/// <summary>Skips a test that needs Debian's Chromium, where it is not installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class NeedsChromiumAttribute : BeforeAfterTestAttribute
{
    public const string Program = "/usr/bin/chromium";

    public override void Before(MethodInfo methodUnderTest, IXunitTest test) =>
        Assert.SkipUnless(File.Exists(Program), "Chromium is not installed (apt-get install chromium)");
}

public class LabelPageTests
{
    internal const string Settled = "n => !busy && view && view.saved === n && ((document.body.dataset.screen === 'choose' && current && "
        + "current.id === view.questions[0].id && cards.className === '') || document.body.dataset.screen === 'done')";
    private const string Html = "<img src=x onerror=\"document.title='broken'\"> & a <b>disc</b>";

    internal sealed record Given(string[] Candidates, int[] Ranks, string? Comment = null);

    [Fact, NeedsChromium]
    public async Task ThirtyPairs_TwoRatersUndoTieReload_EndsWithExactlyThoseChoices()
    {
        using var folder = new TempFolder();
        var port = $"{LabelProcess.FreePort()}";
        string[] arguments = ["--images", LabelProcess.Images(folder.At("in"), 30, caption: i => i == 3 ? Html : $"a disc, number {i}"),
            "--store", folder.At("store"), "--port", port, "--overlap", "2", "--check-every", "9"];
        var server = new LabelProcess(arguments);
        try
        {
            using var playwright = await Playwright.CreateAsync();
            await using var browser = await Launch(playwright);
            var faults = new List<string>();
            var (ada, bob) = (await Enter(browser, server, "Ada", faults), await Enter(browser, server, "Bob <b>", faults));

            var given = await Task.WhenAll(Label(ada, 0, async (page, n) =>
            {
                if (n is 5 or 17) await page.ReloadAsync();
            }), Label(bob, 1, async (page, n) =>
            {
                if (n != 12) return;
                // The server dies, and comes again while the page still asks.
                server.Kill();
                server.Dispose();
                await page.Keyboard.PressAsync("1");
                await page.WaitForSelectorAsync("#trouble:not([hidden])");
                server = new LabelProcess(arguments);
                await page.WaitForSelectorAsync("#trouble", new() { State = WaitForSelectorState.Hidden });
            }));

            Assert.Contains("Thank you, Ada.", await ada.InnerTextAsync("#thanks"));
            Assert.Empty(faults);
            using var store = PreferenceStore.Open(folder.At("store"));
            foreach (var (rater, expected) in ((string, List<Given>)[])[("Ada", given[0]), ("Bob <b>", given[1])])
            {
                var stored = store.Choices(rater);
                Assert.Equal(Write(expected),
                    Write(stored.Select(choice => new Given([.. choice.Candidates], [.. choice.Ranks], choice.Comment))));
                Assert.Equal(30, stored.Count(choice => choice.Mode == ChoiceMode.Pair));
                Assert.InRange(stored.Count(choice => choice.Mode == ChoiceMode.Check), 1, 6);
                Assert.Contains(stored, choice => choice.IsTie);
                Assert.Contains(stored, choice => choice.IsSkipped);
            }
            // Sides are shuffled for each rater.
            var sides = store.Choices("Ada").ToDictionary(choice => string.Join(' ', choice.Candidates.Order()), choice =>
                choice.Candidates[0]);
            Assert.Contains(store.Choices("Bob <b>"), choice =>
                sides.TryGetValue(string.Join(' ', choice.Candidates.Order()), out var left) && left != choice.Candidates[0]);
        }
        finally
        {
            server.Dispose();
        }
    }

    [Fact, NeedsChromium]
    public async Task Rank_OnAPhone_StoresTheOrderTapped()
    {
        using var folder = new TempFolder();
        using var server = new LabelProcess("--images", LabelProcess.Images(folder.At("in"), 1, 4), "--store", folder.At("store"),
            "--port", "0", "--mode", "rank", "--check-every", "0");
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await Launch(playwright);
        var page = await Enter(browser, server, "Ada", [], phone: true);
        await page.WaitForFunctionAsync(Settled, 0);
        var shown = await Shown(page);
        await page.TapAsync(".card:nth-child(3)");
        await page.TapAsync("#tie"); // the next is equal to the last
        await page.TapAsync(".card:nth-child(1)");
        await page.TapAsync(".card:nth-child(4)");
        await page.WaitForFunctionAsync(Settled, 1);

        using var store = PreferenceStore.Open(folder.At("store"));
        var choice = Assert.Single(store.Choices());
        Assert.Equal(shown, choice.Candidates);
        Assert.Equal([0, 2, 0, 1], choice.Ranks);
    }

    /// <summary>
    /// Not a test of anything but that the page can be drawn: with ORTRLHF_SCREENSHOTS=FOLDER it writes the pictures of docs/.
    /// </summary>
    [Fact, NeedsChromium]
    public async Task Pages_OnLaptopAndPhone_FitTheScreen()
    {
        using var folder = new TempFolder();
        var images = Environment.GetEnvironmentVariable("ORTRLHF_SCREENSHOT_IMAGES") ?? LabelProcess.Images(folder.At("in"), 12, 4);
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await Launch(playwright);
        foreach (var mode in (string[])["pair", "best", "rank"])
        {
            using var server = new LabelProcess("--images", images, "--store", folder.At(mode), "--port", "0", "--mode", mode,
                "--check-every", "0");
            foreach (var phone in (bool[])[false, true])
            {
                var page = await Enter(browser, server, phone ? "Bob" : "Ada", [], phone, Shot);
                for (var n = 0; n < 3 && mode == "pair"; n++)
                {
                    await page.WaitForFunctionAsync(Settled, n);
                    await page.Keyboard.PressAsync("1");
                }
                await page.WaitForFunctionAsync(Settled, mode == "pair" ? 3 : 0);
                if (mode == "rank") await page.ClickAsync(".card:nth-child(2)");
                await Shot(page, $"{mode}-{(phone ? "phone" : "laptop")}");
                Assert.True(await page.EvaluateAsync<bool>("() => [...document.querySelectorAll('.card, footer nav button, "
                    + "#prompt')].every(e => { const r = e.getBoundingClientRect(); return r.left >= 0 && r.top >= 0 && r.right <= "
                    + "innerWidth + 1 && r.bottom <= innerHeight + 1; })"));
                Assert.True(await page.EvaluateAsync<double>("() => document.querySelector('.card').getBoundingClientRect().width") > 150);
                await page.Context.CloseAsync();
            }
        }

        static async Task Shot(IPage page, string name)
        {
            if (Environment.GetEnvironmentVariable("ORTRLHF_SCREENSHOTS") is not { Length: > 0 } output) return;
            await page.WaitForTimeoutAsync(400);
            await page.ScreenshotAsync(new() { Path = Path.Combine(output, $"label-{name}.png") });
        }
    }

    internal static string Write(IEnumerable<Given> given) => string.Join('\n', given.Select(one => JsonSerializer.Serialize(one)));

    internal static Task<IBrowser> Launch(IPlaywright playwright) => playwright.Chromium.LaunchAsync(
        new() { ExecutablePath = NeedsChromiumAttribute.Program, Args = ["--no-sandbox", "--disable-dev-shm-usage"] });

    internal static async Task<IPage> Enter(IBrowser browser, LabelProcess server, string rater, List<string> faults, bool phone = false,
        Func<IPage, string, Task>? shot = null)
    {
        var context = await browser.NewContextAsync(phone
            ? new()
            {
                ViewportSize = new() { Width = 390, Height = 844 },
                DeviceScaleFactor = 1,
                HasTouch = true,
                IsMobile = true,
                ColorScheme = ColorScheme.Dark
            }
            : new() { ViewportSize = new() { Width = 1280, Height = 800 } });
        context.SetDefaultTimeout(180_000); // of a busy machine: drawing gives way to everything else
        var page = await context.NewPageAsync();
        page.PageError += (_, fault) => faults.Add(fault);
        await page.GotoAsync(server.Url);
        await page.FillAsync("#name", rater);
        if (shot is not null) await shot(page, phone ? "enter-phone" : "enter-laptop");
        await page.ClickAsync(".primary");
        return page;
    }

    // Answers everything by keyboard, in a pattern of wins, ties, skips, comments and undoing, and says what must be stored.
    private static async Task<List<Given>> Label(IPage page, int shift, Func<IPage, int, Task> between)
    {
        var given = new List<Given>();
        var undone = 0;
        for (var n = 0; n < 80; n++)
        {
            await page.WaitForFunctionAsync(Settled, given.Count);
            if (await page.EvaluateAsync<string>("() => document.body.dataset.screen") == "done") return given;
            Assert.Contains(" to go", await page.TextContentAsync("#left"));
            var shown = await Shown(page);
            await between(page, n);
            if (n == 12 && shift == 1)
            {
                given.Add(new(shown, [0, 1])); // pressed while the server was away
                continue;
            }
            await page.WaitForFunctionAsync(Settled, given.Count);
            Assert.Equal(shown, await Shown(page)); // a reload shows the same again
            var prompt = await page.EvaluateAsync<string>("() => current.prompt");
            Assert.Equal(prompt, await page.TextContentAsync("#prompt"));
            if (n % 8 == 6)
            {
                // Taken back, seen again, answered otherwise.
                await page.Keyboard.PressAsync("2");
                await page.WaitForFunctionAsync(Settled, given.Count + 1);
                await page.Keyboard.PressAsync("u");
                await page.WaitForFunctionAsync(Settled, given.Count);
                Assert.Equal(shown, await Shown(page));
                undone++;
            }
            var (key, ranks) = ((n + shift) % 7) switch
            {
                3 => ("t", (int[])[0, 0]),
                5 => ("s", []),
                1 or 4 => ("2", [1, 0]),
                _ =>
                ("1", [0, 1])
            };
            string? comment = null;
            if (n % 10 == 2)
            {
                comment = $"'); DROP TABLE x; -- <i>{n}</i>";
                await page.Keyboard.PressAsync("c");
                await page.FillAsync("#comment", comment);
                await page.Keyboard.PressAsync("Enter");
            }
            await page.Keyboard.PressAsync(key);
            given.Add(new(shown, ranks, comment));
        }
        Assert.Fail($"after 80 answers and {undone} undone the page still asks");
        return given;
    }

    internal static async Task<string[]> Shown(IPage page) =>
        await page.EvaluateAsync<string[]>("() => [...document.querySelectorAll('.card')].map(card => card.dataset.candidate)");
}
