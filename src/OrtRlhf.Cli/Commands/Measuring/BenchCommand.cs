using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Tuning.Benchmarks;
using OrtRlhf.Tuning.Methods;
using Spectre.Console;

namespace OrtRlhf.Cli.Commands;

/// <summary>Measures speed and memory on this machine.</summary>
[Verb("bench", HelpText = "Measures speed and memory on this machine. A 35M-parameter U-Net with adapters (forward, forward and "
    + "backward, by default and with little memory, "
    + "each in a process of its own), the log-prob kernel beside plain reading, and methods in images a second. Timings are worth "
        + "something on a quiet machine only.")]
[Example("everything", "bench")]
[Example("the U-Net whose folder tools/Peers/bench_unet.py made, results compared with PyTorch's", "bench unet --folder FOLDER")]
[Example("DDPO on another model, for a script", "bench ddpo --model FOLDER --json")]
internal sealed class BenchCommand : ICommand
{
    private static readonly string[] Parts = ["unet", "log-prob", "ddpo"], Settings = ["default", "low-memory"],
        Works = ["forward", "forward-backward"];

    /// <summary>What to measure.</summary>
    [Value(0, MetaName = "PART", HelpText = "unet, log-prob, or a method of 'ortrlhf tune'; unet, log-prob and ddpo without it. large: "
        + "import, one step and one training step of Stable Diffusion 1.5's U-Net with random weights.")]
    public string? Part { get; set; }

    /// <summary>Folder of the U-Net.</summary>
    [Option("folder", MetaValue = "FOLDER", HelpText = "U-Net, adapter and inputs as tools/Peers/bench_unet.py writes them. Without it: "
        + "random weights of the same sizes. For large: where to write 7 GB.")]
    public string? Folder { get; set; }

    /// <summary>Memory setting of the U-Net.</summary>
    [Option("setting", MetaValue = "NAME", HelpText = "default or low-memory; both without it.")]
    public string? Setting { get; set; }

    /// <summary>Work of the U-Net.</summary>
    [Option("work", MetaValue = "NAME", HelpText = "forward or forward-backward; both without it.")]
    public string? Work { get; set; }

    /// <summary>Runs that are timed.</summary>
    [Option("repeats", Default = 20, MetaValue = "N", HelpText = "Timed runs of the U-Net, after three that do not count.")]
    public int Repeats { get; set; }

    /// <summary>Folder of the method's model.</summary>
    [Option("model", MetaValue = "FOLDER", HelpText = "Model for the method; models/shapes without it.")]
    public string? Model { get; set; }

    /// <summary>Epochs of the method.</summary>
    [Option("epochs", Default = 3, MetaValue = "N", HelpText = "Epochs of the method, at least 2; the first does not count.")]
    public int Epochs { get; set; }

    /// <summary>Images of an epoch.</summary>
    [Option("images", Default = 64, MetaValue = "N", HelpText = "Images an epoch of the method.")]
    public int Images { get; set; }

    /// <summary>Threads.</summary>
    [Option("threads", Default = 0, MetaValue = "N", HelpText = "Threads within an operator; 0 takes one per core.")]
    public int Threads { get; set; }

    /// <summary>Whether to write JSON.</summary>
    [Option("json", HelpText = "Write one JSON object instead of tables.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        var parts = Part is null ? Parts
            : Chosen(Part, "PART", [.. Parts, .. TuningMethods.All.Skip(1).Select(method => method.Name), "large"]);
        if (Part == "large" && Folder is null) throw new UsageError("bench large: expected --folder FOLDER, where there is room for 7 GB");
        Chosen(Setting, "--setting", Settings);
        Chosen(Work, "--work", Works);
        if (Repeats < 1 || Epochs < 2 || Images < 2 || Threads < 0)
            throw new UsageError($"bench: expected --repeats 1 or more, --epochs and --images 2 or more, --threads 0 or more, got "
                + $"{Repeats}, {Epochs}, {Images} and {Threads}");
        var results = new Dictionary<string, object>();
        foreach (var part in parts)
        {
            cancellation.ThrowIfCancellationRequested();
            results[part] = part switch
            {
                "unet" => UNet(cancellation),
                "log-prob" => LogProb(),
                "large" => Large(),
                _ =>
                Method(TuningMethods.Find(part)!, cancellation)
            };
        }
        if (Json) Terminal.Line(JsonSerializer.Serialize(results, JsonFile.Line));
        return ExitCode.Done;
    }

    private static string[] Chosen(string? value, string what, string[] all) => value is null ? all
        : all.Contains(value) ? [value]
            : throw new UsageError($"bench: {what}: expected {string.Join(", ", all[..^1])} or {all[^1]}, got '{value}'");

    private Dictionary<string, UNetTiming> UNet(CancellationToken cancellation)
    {
        var timings = new Dictionary<string, UNetTiming>();
        foreach (var setting in Chosen(Setting, "--setting", Settings))
        {
            foreach (var work in Chosen(Work, "--work", Works))
                timings[$"{setting} {work}"] = Setting is not null && Work is not null ? UNetHere(setting, work)
                    : UNetInProcessOfItsOwn(setting, work, cancellation);
        }
        Show(["U-Net, 35M parameters", "median ms", "fastest ms", "peak MB", "peak MB after load", "error", "gradients' error"],
            timings.Select(t => new object?[] { t.Key, t.Value.MedianMs, t.Value.MinMs, t.Value.PeakMb, t.Value.AfterLoadMb,
                t.Value.Deviation, t.Value.GradientDeviation }));
        return timings;
    }

    private UNetTiming UNetHere(string setting, string work) => UNetBenchmark.Run(
        Folder, work == "forward" ? UNetWork.Forward : UNetWork.ForwardBackward, Repeats,
            new SessionSettings { Threads = Threads, LowMemory = setting == "low-memory" });

    private UNetTiming UNetInProcessOfItsOwn(string setting, string work, CancellationToken cancellation)
    {
        var program = Environment.ProcessPath!;
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet") start.ArgumentList.Add(typeof(BenchCommand).Assembly.Location);
        string[] arguments = ["bench", "unet", "--json", "--setting", setting, "--work", work, "--repeats", $"{Repeats}", "--threads",
            $"{Threads}"];
        foreach (var argument in Folder is null ? arguments : [.. arguments, "--folder", Folder]) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        using var stop = cancellation.Register(process.Kill);
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        cancellation.ThrowIfCancellationRequested();
        if (process.ExitCode != 0) throw new UserError(
            $"bench unet --setting {setting} --work {work}: the process that measures it ended with exit code {process.ExitCode}");
        using var json = JsonDocument.Parse(output);
        return json.RootElement.GetProperty("unet").GetProperty($"{setting} {work}").Deserialize<UNetTiming>(JsonFile.Line)!;
    }

    private LogProbTiming[] LogProb()
    {
        LogProbTiming[] timings = [.. LogProbBenchmark.Sizes.Select(n => LogProbBenchmark.Run(n))];
        Show(["log-prob of a latent", "working set KiB", "GB/s", "reading GB/s", "share of reading"],
            timings.Select(t => new object?[] { $"{t.Elements} elements", t.WorkingSetBytes / 1024, t.GigabytesPerSecond,
                t.ReadGigabytesPerSecond, t.ShareOfRead }));
        return timings;
    }

    private LargeTiming Large()
    {
        var t = LargeBenchmark.Run(Folder!, new SessionSettings { Threads = Threads, LowMemory = Setting != "default" });
        Show([$"U-Net, {t.Parameters / 1e6:F0}M parameters", "seconds", "peak MB"],
            [["import", t.Import.Seconds, t.Import.PeakMb], ["one step, 512x512", t.Step.Seconds, t.Step.PeakMb],
                ["forward and backward, 512x512", t.Training.Seconds, t.Training.PeakMb]]);
        return t;
    }

    private MethodTiming Method(TuningMethod method, CancellationToken cancellation)
    {
        var t = MethodBenchmark.Run(method, ModelFolder.Find(Model), Epochs, Images, new SessionSettings { Threads = Threads },
            cancellation);
        Show([$"{method.Name}, images a second", "sampling", "training", "overall", "peak MB", "ratio.first"],
            [[Model ?? ModelFolder.Default, t.Sampling, t.Training, t.Overall, t.PeakMb, t.RatioFirstMaxDeviation]]);
        return t;
    }

    private void Show(string[] columns, IEnumerable<object?[]> rows)
    {
        if (Json) return;
        var table = new Table().Border(TableBorder.Simple).AddColumns(columns);
        foreach (var column in table.Columns.Skip(1)) column.RightAligned();
        foreach (var row in rows) table.AddRow([.. row.Select(Text)]);
        Terminal.Out.Write(table);
    }

    private static string Text(object? value) => value switch
    {
        null or double.NaN => "-",
        double d => d.ToString(Math.Abs(d) is > 0 and < 1e-2 ? "0.0e+0" : d < 10 ? "0.00" : "0.#", CultureInfo.InvariantCulture),
        _ => string.Create(CultureInfo.InvariantCulture, $"{value}"),
    };
}
