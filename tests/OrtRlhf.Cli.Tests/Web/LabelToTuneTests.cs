using Microsoft.Playwright;
using OrtRlhf.Graph.Files;
using OrtRlhf.Preferences;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using static OrtRlhf.Cli.Tests.Web.LabelPageTests;

namespace OrtRlhf.Cli.Tests.Web;

/// <summary>The whole way of a user: a model draws, a person clicks, the model is tuned on that, and draws for the next round.</summary>
public class LabelToTuneTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    private static readonly string[] Drawing = ["--steps", "3", "--guidance-scale", "2", "--threads", "1"];

    [Fact, NeedsChromium]
    public async Task Clicks_AreWhatTheModelIsTunedOn_RoundAfterRound()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("prompts.txt"), "a cat\na dog\na bird\nsome fish\na red hat\n");
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await Launch(playwright);

        var first = await Round(browser, folder, 6);
        Tune(folder, "one", "d3po");
        Assert.Equal(first, Learned(folder, "one"));

        // The adapter's pictures, into the same store.
        var adapter = folder.At("one", "adapter", "adapter.safetensors");
        var second = await Round(browser, folder, 5, "--adapter", adapter);
        Tune(folder, "two", "d3po", "--init-adapter", adapter);
        Assert.Equal([.. first, .. second], Learned(folder, "two"));
        Tune(folder, "three", "dpo", "--init-adapter", adapter);
        Assert.Equal([.. first, .. second], Learned(folder, "three"));

        using var store = PreferenceStore.Open(folder.At("store"));
        var sources = store.Candidates().ToDictionary(candidate => candidate.Id, candidate => candidate.Source!);
        Assert.All(first, pair => Assert.Equal((model.Path, model.Path), (sources[pair.Winner], sources[pair.Loser])));
        Assert.All(second, pair => Assert.All([pair.Winner, pair.Loser], id => Assert.EndsWith("adapter.safetensors", sources[id])));
    }

    // Clicks through all questions; says which candidate was preferred to which.
    private async Task<List<PreferencePair>> Round(IBrowser browser, TempFolder folder, int questions, params string[] more)
    {
        using var server = new LabelProcess(["--model", model.Path, "--prompts", folder.At("prompts.txt"), "--store", folder.At("store"),
            "--count", $"{questions}", "--check-every", "0", "--port", "0", .. Drawing, .. more]);
        var faults = new List<string>();
        var page = await Enter(browser, server, "Ada", faults);
        await page.WaitForFunctionAsync("() => view && document.body.dataset.screen === 'choose'");
        var (start, clicked) = (await page.EvaluateAsync<int>("() => view.saved"), new List<PreferencePair>());
        for (var n = 0; ; n++)
        {
            await page.WaitForFunctionAsync(Settled, start + n);
            if (await page.EvaluateAsync<string>("() => document.body.dataset.screen") == "done") break;
            Assert.True(n < questions, "more questions than were asked for");
            var shown = await Shown(page);
            var chosen = n % 3 == 1 ? 1 : 0;
            if (n == 2) await page.ClickAsync("#tie");
            else if (n == 3)
            {
                // Clicked by mistake.
                await page.ClickAsync(".card:nth-child(2)");
                await page.WaitForFunctionAsync(Settled, start + n + 1);
                await page.ClickAsync("#undo");
                await page.WaitForFunctionAsync(Settled, start + n);
                Assert.Equal(shown, await Shown(page));
                await page.ClickAsync(".card:nth-child(1)");
            }
            else await page.ClickAsync($".card:nth-child({chosen + 1})");
            if (n != 2) clicked.Add(new(shown[chosen], shown[1 - chosen], 1));
        }
        Assert.Empty(faults);
        Assert.Equal(questions - 1, clicked.Count);
        await page.Context.CloseAsync();
        Assert.Contains($"{start + questions} choices are saved", await server.Stop());
        return clicked;
    }

    private void Tune(TempFolder folder, string run, string method, params string[] more) =>
        Cli.Run(["tune", model.Path, "--method", method, "--preferences", folder.At("store"), "--prompts", folder.At("prompts.txt"),
            "--reward", "jpeg-compressibility", "--output", folder.At(run), "--epochs", "2",
            "--evaluation-images", "4", "--sample-images", "2", "--micro-batch", "4", .. more.Contains("--init-adapter") ? []
                : new[] { "--lora-rank", "2" }, .. Drawing, .. more]).Succeeds();

    // What a run says it was trained on.
    private static IReadOnlyList<PreferencePair> Learned(TempFolder folder, string run)
    {
        var files = new RunFolder(folder.At(run));
        var pairs = JsonFile.Read<PreferenceSelection>(files.Preferences).Pairs;
        Assert.All(JsonLines<EpochMetrics>.Read(files.Metrics), epoch =>
        {
            Assert.Equal(pairs.Count, epoch.Other!["choices"]);
            Assert.InRange(epoch.GradientNorm!.Value, 1e-9, 1e9);
        });
        Assert.True(File.Exists(files.Summary));
        return pairs;
    }
}
