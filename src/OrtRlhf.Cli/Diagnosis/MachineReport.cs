using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>The machine and the libraries, as this process sees them.</summary>
internal sealed record MachineReport
{
    /// <summary>OrtRlhf's version.</summary>
    public string OrtRlhf { get; } = Versions.Own;

    /// <summary>.NET's version.</summary>
    public string DotNet { get; } = Environment.Version.ToString();

    /// <summary>ONNX Runtime's version, null when missing.</summary>
    public string? OnnxRuntime { get; } = Versions.OnnxRuntime();

    /// <summary>The execution providers that ONNX Runtime's library was built with, empty when missing.</summary>
    public IReadOnlyList<string> Providers { get; } = Versions.Providers() ?? [];

    /// <summary>libvips's version, null when missing.</summary>
    public string? Libvips { get; } = LibvipsVersion();

    /// <summary>Operating system and processor architecture.</summary>
    public string System { get; } =
        $"{RuntimeInformation.OSDescription.Trim()}, {RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>Cores this process may use.</summary>
    public int Cores { get; } = Environment.ProcessorCount;

    /// <summary>Bits of the widest vectors the processor has.</summary>
    public int VectorBits { get; } = Avx512F.IsSupported ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated
        ? 128 : 0;

    /// <summary>Bytes of memory this process may use, the container's limit where there is one.</summary>
    public long MemoryBytes { get; } = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>Paths of the native libraries that are loaded.</summary>
    public IReadOnlyList<string> NativeLibraries { get; } =
        [.. Process.GetCurrentProcess().Modules.Cast<ProcessModule>().Select(module => module.FileName).Where(IsOurs).Distinct()
            .Order(StringComparer.Ordinal)];

    private static bool IsOurs(string path) =>
        Path.GetFileName(path).ToLowerInvariant() is var name && !name.StartsWith("ortrlhf.", StringComparison.Ordinal)
        && (name.Contains("onnxruntime", StringComparison.Ordinal) || name.Contains("vips", StringComparison.Ordinal));

    private static string? LibvipsVersion()
    {
        try
        {
            return ImageCodec.LibraryVersion.ToString();
        }
        catch (UserError)
        {
            return null;
        }
    }
}
