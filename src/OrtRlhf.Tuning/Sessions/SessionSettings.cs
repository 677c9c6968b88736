using System.Text.Json.Serialization;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;

namespace OrtRlhf.Tuning.Sessions;

/// <summary>How ONNX Runtime runs a graph.</summary>
public sealed record SessionSettings
{
    private const long SmallModel = 64 << 20;

    /// <summary>Execution provider: <c>cpu</c>, <c>cuda</c> or <c>webgpu</c>. Default <c>cpu</c>.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Threads of all workers together; 0 takes one per core. Default 0.</summary>
    public int Threads { get; init; }

    /// <summary>
    /// Sessions that work side by side on parts of a batch, each with its share of the threads and its own copy of the weights; 0 takes one per thread where the
    /// weights are small (64 MiB or less, on the CPU, without <see cref="LowMemory"/>), else one. Default 0.
    /// </summary>
    public int Workers { get; init; }

    /// <summary>
    /// Trades speed for memory: the weights stay in one mapped file, with no packed or flipped copy and no layout change of convolutions. Default false.
    /// </summary>
    public bool LowMemory { get; init; }

    /// <summary>How training graphs for such a session are differentiated.</summary>
    [JsonIgnore]
    public GradientOptions Gradients => new() { SharedWeights = LowMemory, RecomputeScores = LowMemory };

    /// <summary>Refuse a graph that the device cannot run whole, rather than run parts of it on the CPU. Default false.</summary>
    public bool NoFallback { get; init; }

    /// <summary>The settings of one worker, and how many there are, for a graph.</summary>
    public (SessionSettings Each, int Count) Split(OnnxGraph graph)
    {
        var threads = Threads > 0 ? Threads : Environment.ProcessorCount;
        var small = Device == "cpu" && !LowMemory && graph.Values.Values.Sum(v => v.Data?.ByteLength ?? 0) <= SmallModel;
        var count = Workers > 0 ? Workers : small ? threads : 1;
        return (count == 1 ? this : this with { Threads = Math.Max(1, threads / count), Workers = 1 }, count);
    }

    /// <summary>The options of ONNX Runtime; the caller disposes them.</summary>
    /// <exception cref="UserError">The device is unknown or does not work here.</exception>
    public SessionOptions ToOptions()
    {
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
            throw new UserError($"device '{Device}' does not work here ({fault.Message.ReplaceLineEndings(" ")}); run 'ortrlhf doctor' to see which do, or use --device cpu", fault);
        }
        return options;
    }
}
