using System.Text.Json;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Diagnosis;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Graph.Files;
using Spectre.Console;

namespace OrtRlhf.Cli.Commands;

/// <summary>Says what works on this machine.</summary>
[Verb("doctor", HelpText = "Says which devices really work here, which versions run, what is missing and how to get it. "
    + "Every device is tried with a small graph. Returns 1 when the CPU, an image library or the shipped model does not work; a missing "
        + "GPU is no fault.")]
[Example("what works here", "doctor")]
[Example("the same for a script", "doctor --json")]
internal sealed class DoctorCommand : ICommand
{
    private static readonly string[] Devices = ["cpu", "cuda", "webgpu"];

    /// <summary>Whether to write JSON.</summary>
    [Option("json", HelpText = "Write one JSON object instead of tables.")]
    public bool Json { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        var devices = new List<DeviceReport>();
        foreach (var device in Devices)
        {
            cancellation.ThrowIfCancellationRequested();
            devices.Add(DeviceReport.Check(device));
        }
        var (model, machine) = (ModelReport.Check(), new MachineReport());
        if (Json) Console.Out.WriteLine(JsonSerializer.Serialize(new { machine, devices, model }, JsonFile.Indented));
        else Show(machine, devices, model);
        return devices[0].Works && machine.Libvips is not null && model.Works ? ExitCode.Done : ExitCode.Failed;
    }

    private static void Show(MachineReport machine, List<DeviceReport> devices, ModelReport model)
    {
        Fact("OrtRlhf", machine.OrtRlhf);
        Fact(".NET", machine.DotNet);
        Fact("ONNX Runtime", machine.OnnxRuntime ?? "missing: " + Remedies.Of("cpu"));
        if (machine.Providers.Count > 0) Fact("Providers", string.Join(", ", machine.Providers));
        Fact("libvips", machine.Libvips ?? "missing: build again, so that its native library lies in runtimes/ beside the program");
        Fact("System", machine.System);
        Fact("Processor", $"{machine.Cores} cores, vectors of {machine.VectorBits} bits");
        Fact("Memory", $"{machine.MemoryBytes / 1e9:F1} GB");
        foreach (var library in machine.NativeLibraries) Fact("Library", library);
        Terminal.Line();
        foreach (var report in devices) Verdict(report.Works, report.Device, report.Detail, report.Remedy);
        Verdict(model.Works, "model", model.Detail, null);
    }

    private static void Fact(string name, string text) => Terminal.Line($"{name,-13} {text}");

    private static void Verdict(bool works, string what, string detail, string? remedy)
    {
        Terminal.Out.MarkupInterpolated($"[{(works ? "green" : "yellow")}]{(works ? "works" : "no"),-5}[/]");
        Terminal.Line($"  {what,-6}  {detail}");
        if (remedy is not null) Terminal.Line($"               {remedy}");
    }
}
