using System.Text.Json.Serialization;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>How ONNX Runtime runs a graph.</summary>
public sealed record SessionSettings
{
    private const long SmallModel = 64 << 20;

    /// <summary>Execution provider: <c>cpu</c>, <c>cuda</c> or <c>webgpu</c>. Default <c>cpu</c>.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Threads of all workers together; 0 takes one per core. Default 0.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Parts of a batch that are worked on side by side, each with its share of the threads; of one thread each they share the weights of a
    /// large model. 0 takes one per
    /// thread on the CPU, without <see cref="LowMemory"/>, where a batch has as many rows or the weights are small (64 MiB or less); else
    /// one. Default 0.
    /// </summary>
    public int Workers { get; init; }

    /// <summary>
    /// Trades speed for memory: the weights stay in one mapped file, with no packed or flipped copy and no layout change of convolutions.
    /// Default false.
    /// </summary>
    public bool LowMemory { get; init; }

    /// <summary>How training graphs for such a session are differentiated.</summary>
    [JsonIgnore]
    public GradientOptions Gradients =>
        new() { SharedWeights = LowMemory, RecomputeScores = LowMemory, SplitLayers = Device == "cpu" && !LowMemory };

    /// <summary>Refuse a graph that the device cannot run whole, rather than run parts of it on the CPU. Default false.</summary>
    public bool NoFallback { get; init; }

    /// <summary>The settings of one worker, and how many there are, for a graph.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="rows">The most rows that a batch has, at least 1.</param>
    public (SessionSettings Each, int Count) Split(OnnxGraph graph, int rows)
    {
        var threads = Threads > 0 ? Threads : Environment.ProcessorCount;
        var many = Device == "cpu" && !LowMemory
            && (rows >= threads || graph.Values.Values.Sum(v => v.Data?.ByteLength ?? 0) <= SmallModel);
        var count = Math.Min(Workers > 0 ? Workers : many ? threads : 1, rows);
        return (count == 1 ? this : this with { Threads = Math.Max(1, threads / count), Workers = 1 }, count);
    }

    /// <summary>All faults, properties in backquotes; none when all is well.</summary>
    public IEnumerable<string> Faults()
    {
        if (Device is not ("cpu" or "cuda" or "webgpu")) yield return $"`Device`: expected cpu, cuda or webgpu, got {Device}";
        if (Threads < 0) yield return $"`Threads`: expected 0 or more, got {Threads}";
        if (Workers < 0) yield return $"`Workers`: expected 0 or more, got {Workers}";
    }

    /// <summary>The options of ONNX Runtime; the caller disposes them.</summary>
    /// <exception cref="UserError">The device is unknown or does not work here.</exception>
    public SessionOptions ToOptions()
    {
        OrtLibrary.Load();
        if (Device is "cuda" && !OrtLibrary.Providers().Contains("CUDAExecutionProvider"))
            throw DoesNotWork("this build has ONNX Runtime without CUDA: build with -p:OrtDevice=cuda");
        if (Device is "webgpu" && !OrtLibrary.Providers().Contains("WebGpuExecutionProvider"))
            throw DoesNotWork($"the official packages of ONNX Runtime have no WebGPU: name a library that has it in {OrtLibrary.Variable}");
        var options = new SessionOptions
        {
            EnableCpuMemArena = !LowMemory, // an arena keeps what it once had
            EnableMemoryPattern = false, // saves a third of the memory of a training graph at no cost
            ExecutionMode = ExecutionMode.ORT_SEQUENTIAL,
            IntraOpNumThreads = Threads,
            GraphOptimizationLevel = LowMemory ? GraphOptimizationLevel.ORT_ENABLE_EXTENDED : GraphOptimizationLevel.ORT_ENABLE_ALL,
            LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
        };
        if (LowMemory) options.AddSessionConfigEntry("session.disable_prepacking", "1");
        if (NoFallback) options.AddSessionConfigEntry("session.disable_cpu_ep_fallback", "1");
        try
        {
            switch (Device)
            {
                case "cpu": break;
                case "cuda": options.AppendExecutionProvider_CUDA(); break;
                case "webgpu": options.AppendExecutionProvider("WebGPU"); break;
                default: throw new UserError($"device '{Device}': expected cpu, cuda or webgpu");
            }
        }
        catch (OnnxRuntimeException fault)
        {
            options.Dispose();
            throw DoesNotWork(fault.Message.ReplaceLineEndings(" "), fault);
        }
        return options;
    }

    private UserError DoesNotWork(string why, Exception? fault = null) =>
        new($"device '{Device}' does not work here ({why}); run 'ortrlhf doctor' to see which do, or use `Device` cpu", fault);
}
