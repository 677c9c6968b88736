namespace OrtRlhf.Cli.Diagnosis;

/// <summary>How to get what is missing.</summary>
internal static class Remedies
{
    /// <summary>What makes a device work.</summary>
    public static string Of(string device) => device switch
    {
        "cuda" => "needs an NVIDIA GPU with its driver, CUDA 13 and cuDNN 9, and ONNX Runtime's CUDA provider beside its own library: "
            + "build with -p:OnnxRuntimeFrom=nuget, or take libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so of the same version from npm com.github.asus4.onnxruntime.linux-x64-gpu",
        "webgpu" => "needs a GPU with a Vulkan driver (Linux: the packages libvulkan1 and mesa-vulkan-drivers, or the vendor's), Direct3D 12 (Windows) or Metal (macOS)",
        _ => "ONNX Runtime itself does not work here: build again, so that its native library lies in runtimes/ beside the program",
    };
}
