using System.Diagnostics;
using System.Runtime.InteropServices;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>Whether a device works.</summary>
/// <param name="Device">As <c>--device</c> takes it.</param>
/// <param name="Works">Whether a small graph ran on it, no part of it on the CPU instead, and gave the right numbers.</param>
/// <param name="Detail">What ran, or what failed.</param>
/// <param name="Remedy">What to do; null when it works.</param>
internal sealed record DeviceReport(string Device, bool Works, string Detail, string? Remedy)
{
    private const int Size = 64;

    /// <summary>
    /// Tries a device: providers are listed whether or not they work, only running something tells.
    /// </summary>
    /// <param name="device">As <c>--device</c> takes it.</param>
    public static DeviceReport Check(string device)
    {
        RuntimeLog.Clear();
        if (device == "cuda" && Remedies.Lacks("CUDAExecutionProvider")) return new(device, false,
            "this build has ONNX Runtime without CUDA", Remedies.Of(device));
        if (device == "webgpu" && Remedies.Lacks("WebGpuExecutionProvider")) return new(device, false,
            "this ONNX Runtime was built without WebGPU", Remedies.Of(device));
        // Dawn, which runs WebGPU, complains on the screen before it fails.
        if (device == "webgpu" && OperatingSystem.IsLinux() && !NativeLibrary.TryLoad("libvulkan.so.1", out _))
            return new(device, false, "libvulkan.so.1 cannot be loaded: there is no Vulkan here", Remedies.Of(device));
        try
        {
            var clock = Stopwatch.StartNew();
            using var session = new GraphSession(Probe(), new SessionSettings { Device = device, NoFallback = device != "cpu" });
            var x = new float[Size * Size];
            x.AsSpan().Fill(1);
            using var input = x.ToOrt(Size, Size);
            var y = session.Run(("x", input))["y"];
            var wrong = y.FirstOrDefault(value => Math.Abs(value - 2 * Size) > 1e-3, float.NaN);
            return float.IsNaN(wrong)
                ? new(device, true, $"ran a {Size}x{Size} matrix product in {clock.ElapsedMilliseconds} ms, loading included", null)
                : new(device, false, $"gives wrong numbers: expected {2 * Size}, got {wrong}",
                    "use --device cpu, and report this with your GPU's name and driver");
        }
        catch (UserError error)
        {
            return new(device, false, RuntimeLog.Reason ?? Shorten(error.InnerException?.Message ?? error.Message), Remedies.Of(device));
        }
    }

    /// <summary>The first sentence or so of ONNX Runtime's messages, without the places in its sources.</summary>
    internal static string Shorten(string message)
    {
        var line = message.Split('\n').Select(part => part.Trim()).First(part => part.Length > 0);
        foreach (var preface in (string[])[" was false. ", " : FAIL : ", " with error: "])
            if (line.LastIndexOf(preface, StringComparison.Ordinal) is >= 0 and var at) line = line[(at + preface.Length)..];
        return line.Length <= 200 ? line : line[..197] + "...";
    }

    // y = x w, w all 2.
    private static OnnxGraph Probe()
    {
        var graph = new OnnxGraph("probe");
        var w = new float[Size * Size];
        w.AsSpan().Fill(2);
        var x = graph.Input("x", ElementType.Float, Size, Size);
        graph.Output(MatMul(x, graph.Constant(Tensor.Of(w, Size, Size), "w")), "y");
        return graph;
    }
}
