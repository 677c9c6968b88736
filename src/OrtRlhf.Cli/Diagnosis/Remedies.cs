using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Diffusion.Sessions;

namespace OrtRlhf.Cli.Diagnosis;

/// <summary>How to get what is missing.</summary>
internal static class Remedies
{
    /// <summary>What makes a device work.</summary>
    public static string Of(string device) => device switch
    {
        _ when Versions.Providers() is null && Environment.GetEnvironmentVariable(OrtLibrary.Variable) is { Length: > 0 } =>
            $"set {OrtLibrary.Variable} to the path of ONNX Runtime's library, or unset it: then the build's own is taken",
        "cuda" when Lacks("CUDAExecutionProvider") => "build with -p:OrtDevice=cuda",
        "cuda" => "needs an NVIDIA GPU with its driver, CUDA 13 and cuDNN 9",
        "webgpu" when Lacks("WebGpuExecutionProvider") =>
            $"the official packages do not have it: set {OrtLibrary.Variable} to the path of an ONNX Runtime library that was built "
                + $"with WebGPU",
        "webgpu" => "needs a GPU with a Vulkan driver (Linux: the packages libvulkan1 and mesa-vulkan-drivers, or the vendor's), "
            + "Direct3D 12 (Windows) or Metal (macOS)",
        _ => "ONNX Runtime itself does not work here: build again, so that its native library lies in runtimes/ beside the program",
    };

    /// <summary>Whether ONNX Runtime is there and was built without a provider.</summary>
    public static bool Lacks(string provider) => Versions.Providers() is { } known && !known.Contains(provider);
}
