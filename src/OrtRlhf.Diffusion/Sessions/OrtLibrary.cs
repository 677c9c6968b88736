using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>ONNX Runtime's native library: the one that came with the build, or another one that <see cref="Variable"/> names.</summary>
public static class OrtLibrary
{
    /// <summary>
    /// The environment variable that names another library, such as one with WebGPU, which the official packages do not have.
    /// </summary>
    public const string Variable = "ORTRLHF_ORT_LIBRARY";

    private static readonly Lazy<string?> Chosen = new(Choose);

    /// <summary>
    /// Takes the library that <see cref="Variable"/> names, if it names one. ONNX Runtime's API is taken from a library once: this comes
    /// before anything of it.
    /// </summary>
    /// <returns>The path of the library; null without the variable, when the build's own is taken.</returns>
    /// <exception cref="UserError">It cannot be loaded.</exception>
    public static string? Load() => Chosen.Value;

    /// <summary>
    /// The execution providers that the library was built with, as ONNX Runtime names them, such as <c>CPUExecutionProvider</c>.
    /// </summary>
    /// <exception cref="UserError">The library cannot be loaded, or is too old.</exception>
    public static IReadOnlyList<string> Providers()
    {
        var path = Load();
        try
        {
            return OrtEnv.Instance().GetAvailableProviders();
        }
        catch (Exception fault) when (fault is TypeInitializationException or DllNotFoundException or EntryPointNotFoundException)
        {
            var reason = (fault.InnerException ?? fault).Message.ReplaceLineEndings(" ");
            throw path is null
                ? new UserError($"ONNX Runtime does not work here: {reason}; build again, so that its library lies in runtimes/ beside "
                    + $"the program", fault)
                : new UserError($"{Variable}: '{path}' does not work here: {reason}; expected ONNX Runtime {Managed} or newer", fault);
        }
    }

    private static string Managed => typeof(OrtEnv).Assembly.GetName().Version?.ToString(2) ?? "";

    private static string? Choose()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } named) return null;
        var path = Path.GetFullPath(named);
        if (!NativeLibrary.TryLoad(path, out var library))
            throw new UserError($"{Variable}: '{path}' cannot be loaded; expected a library of ONNX Runtime {Managed} for "
                + $"{RuntimeInformation.RuntimeIdentifier}, and all that it needs");
        if (!NativeLibrary.TryGetExport(library, "OrtGetApiBase", out _))
            throw new UserError($"{Variable}: '{path}' is not ONNX Runtime; expected its library, {Managed} or newer");
        OrtEnv.DisableDllImportResolver = true; // it would look beside the program
        NativeLibrary.SetDllImportResolver(typeof(OrtEnv).Assembly, (name, _, _) => name == "onnxruntime" ? library : 0);
        return path;
    }
}
