using System.Reflection;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>What is running.</summary>
internal static class Versions
{
    /// <summary>OrtRlhf's own version.</summary>
    public static string Own { get; } =
        typeof(Versions).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>ONNX Runtime's version; null when its native library cannot be loaded.</summary>
    public static string? OnnxRuntime()
    {
        try
        {
            OrtLibrary.Load();
            return OrtEnv.Instance().GetVersionString();
        }
        catch (Exception fault) when (
            fault is UserError or TypeInitializationException or DllNotFoundException or EntryPointNotFoundException)
        {
            return null;
        }
    }

    /// <summary>The execution providers that ONNX Runtime's library was built with; null when it cannot be loaded.</summary>
    public static IReadOnlyList<string>? Providers()
    {
        try
        {
            return OrtLibrary.Providers();
        }
        catch (UserError)
        {
            return null;
        }
    }

    /// <summary>One line: "ortrlhf 0.1.0 (ONNX Runtime 1.29.0, .NET 10.0.0)".</summary>
    public static string Line() => $"ortrlhf {Own} (ONNX Runtime {OnnxRuntime() ?? "missing"}, .NET {Environment.Version})";
}
