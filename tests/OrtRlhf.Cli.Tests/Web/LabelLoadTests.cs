using System.Diagnostics;
using System.Globalization;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests.Web;

public class LabelLoadTests(ITestOutputHelper output)
{
    private const int Raters = 50, Think = 300;

    [Fact]
    [Trait(Soak.Trait, "load")]
    public async Task FiftyRaters_WhileImagesAreDrawn_GetTheirNextPairAtOnce()
    {
        using var folder = new TempFolder();
        var images = LabelProcess.Images(folder.At("in"), 100);
        File.WriteAllLines(folder.At("prompts.txt"), ["a cat", "a dog"]);
        using var server = new LabelProcess(
            "--model", TinyModel.Write(folder.At("tiny")), "--prompts", folder.At("prompts.txt"), "--count", "100000", "--images", images,
                "--overlap", "50", "--store", folder.At("store"), "--port", "0");
        var load = Load();
        var before = (await server.View("nobody")).Open;
        // the model is loaded, and draws
        for (var i = 0; i < 100 && (await server.View("nobody")).Open == before; i++) await Task.Delay(100);

        var (times, end) = (new List<double>(), Stopwatch.StartNew());
        var saved = await Task.WhenAll(Enumerable.Range(0, Raters).Select(async r =>
        {
            var rater = $"rater {r}";
            await Task.Delay(r * Think / Raters);
            var view = await server.View(rater);
            for (var n = 0; end.Elapsed < TimeSpan.FromSeconds(Soak.Times(6, 120)) || n == 0; n++)
            {
                var start = Stopwatch.GetTimestamp();
                view = await server.Answer(rater, $"{r}-{n}", view.Questions[0], [n % 2, 1 - (n % 2)]);
                lock (times) times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                Assert.Equal(n + 1, view.Saved);
                Assert.NotEmpty(view.Questions);
                await Task.Delay(Think);
            }
            return view.Saved;
        }));

        times.Sort();
        var (median, p99) = (times[times.Count / 2], times[(int)(times.Count * 0.99)]);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{times.Count} answers, from answer to next pair: median "
            + $"{median:F1} ms, 99th percentile {p99:F1} ms, longest {times[^1]:F1} ms; load before {load:F1}"));
        Assert.Equal(times.Count, saved.Sum());
        // The promise is of a machine that has nothing else to do.
        Assert.True(p99 < (load < Environment.ProcessorCount ? 100 : 2000), $"99th percentile {p99:F1} ms, load {load:F1}");
    }

    private static double Load() =>
        File.Exists("/proc/loadavg") ? double.Parse(File.ReadAllText("/proc/loadavg").Split(' ')[0], CultureInfo.InvariantCulture) : 0;
}
