using System.Diagnostics;

namespace OrtRlhf.Cli.Tests;

/// <summary>What a command line returned and wrote.</summary>
internal sealed record CliResult(int ExitCode, string Out, string Error)
{
    /// <summary>Asserts an error of exactly one line.</summary>
    public CliResult FailsWith(int code, params ReadOnlySpan<string> parts)
    {
        Assert.True(code == ExitCode, $"expected exit code {code}, got {ExitCode}\n{Out}\n{Error}");
        var line = Assert.Single(Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.StartsWith("error: ", line);
        foreach (var part in parts) Assert.Contains(part, line);
        return this;
    }

    /// <summary>Asserts success.</summary>
    public CliResult Succeeds()
    {
        Assert.True(ExitCode == 0, $"expected exit code 0, got {ExitCode}\n{Out}\n{Error}");
        return this;
    }
}

/// <summary>Runs the built program as a process of its own, on one thread of ONNX Runtime where the command takes threads.</summary>
internal static class Cli
{
    private static readonly string Program = Path.Combine(AppContext.BaseDirectory, "ortrlhf.dll");

    /// <summary>Runs a command line to its end, at most five minutes.</summary>
    public static CliResult Run(params string[] arguments) => Finish(Start(arguments));

    /// <summary>Starts a command line.</summary>
    public static Process Start(params string[] arguments) => StartIn(Path.GetTempPath(), arguments);

    /// <summary>Starts a command line with environment variables.</summary>
    public static Process StartWith(Dictionary<string, string> variables, params IEnumerable<string> arguments) =>
        Start(Path.GetTempPath(), variables, arguments);

    /// <summary>Starts a command line in a folder.</summary>
    public static Process StartIn(string folder, params IEnumerable<string> arguments) => Start(folder, [], arguments);

    private static Process Start(string folder, Dictionary<string, string> variables, IEnumerable<string> arguments)
    {
        var host = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        // Where the tests run in the background, a shell made them ignore SIGINT; the program must not inherit that.
        var start = new ProcessStartInfo(OperatingSystem.IsLinux() ? "env" : host,
            [.. OperatingSystem.IsLinux() ? ["--default-signal=INT", host] : Array.Empty<string>(), Program, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = folder,
        };
        start.Environment["LC_ALL"] = "de_DE.UTF-8"; // commas in numbers, if anything listened to it
        foreach (var (name, value) in variables) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>Waits for a process.</summary>
    public static CliResult Finish(Process process)
    {
        using (process)
        {
            var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            if (!process.WaitForExit(TimeSpan.FromMinutes(5)))
            {
                process.Kill(entireProcessTree: true);
                Assert.Fail("the program did not end within five minutes");
            }
            return new CliResult(process.ExitCode, output.Result, error.Result);
        }
    }
}
