using System.Runtime.CompilerServices;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Tuning.Sessions;

/// <summary>A graph loaded into ONNX Runtime, run with tensors by name; parameters are bound once from buffers.</summary>
public sealed class GraphSession : IDisposable
{
    private const long LargeModel = 32 << 20, LargestInMemory = 1_900_000_000; // bytes of weights; 2 GB take the nodes in, too
    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private string? _files;
    private readonly Dictionary<string, OrtValue> _bound = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (ParameterBuffer Buffer, string Name)> _targets = new(StringComparer.Ordinal);

    /// <summary>
    /// Loads a graph. With little memory its weights go through a temporary file, which the runtime maps, rather than through copies; so do those of a model
    /// above 2 GB, which ONNX Runtime does not take from memory.
    /// </summary>
    /// <exception cref="UserError">ONNX Runtime refuses it, the temporary folder is full, or the device does not work.</exception>
    public GraphSession(OnnxGraph graph, SessionSettings settings)
    {
        using var options = settings.ToOptions();
        if (settings.Device == "cpu")
        {
            FuseAttention.Apply(graph);
            if (!settings.LowMemory) SplitUpsampling.Apply(graph); // new weights, which no file holds
        }
        LowerComposites.Apply(graph);
        // Else they would be made single while the model is loaded, or once for both passes, and kept so.
        if (WeightsInHalves.Keep(graph))
        {
            options.AddSessionConfigEntry("optimization.disable_specified_optimizers", "CommonSubexpressionElimination");
            options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_EXTENDED; // layouts of convolutions are made of constants; 1.29.0 stops the process at others
        }
        var bytes = graph.Values.Values.Sum(v => v.Data?.ByteLength ?? 0);
        try
        {
            _session = settings.LowMemory || bytes > LargestInMemory ? LoadMapped(graph, options) : Load(graph, options);
        }
        catch (OnnxRuntimeException fault)
        {
            throw new UserError($"model '{graph.Name}': ONNX Runtime does not take it: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
        // What loading left over is as large as the weights several times, and would stay until the next collection, which may never come.
        if (bytes > LargeModel) GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Inputs = [.. _session.InputMetadata.Keys];
        Overridable = [.. _session.OverridableInitializerMetadata.Keys];
        Outputs = [.. _session.OutputMetadata.Keys];
    }

    /// <summary>Names of inputs that must be given.</summary>
    public IReadOnlyList<string> Inputs { get; }

    /// <summary>Names of inputs that have a default.</summary>
    public IReadOnlyList<string> Overridable { get; }

    /// <summary>Names of outputs, in the graph's order.</summary>
    public IReadOnlyList<string> Outputs { get; }

    /// <summary>Takes every parameter of the buffer that this graph knows as an input, now and whenever the buffer changes.</summary>
    public GraphSession Bind(ParameterBuffer parameters)
    {
        var known = Inputs.Concat(Overridable).ToHashSet(StringComparer.Ordinal);
        foreach (var name in parameters.Names.Where(known.Contains)) _bound[name] = parameters.Value(name);
        return this;
    }

    /// <summary>Writes outputs into a buffer: the output <c>name + suffix</c> goes where the buffer holds <c>name</c>.</summary>
    public GraphSession BindOutputs(ParameterBuffer buffer, string suffix)
    {
        var known = Outputs.ToHashSet(StringComparer.Ordinal);
        foreach (var name in buffer.Names.Where(n => known.Contains(n + suffix))) _targets[name + suffix] = (buffer, name);
        return this;
    }

    /// <summary>Runs the graph; the outputs that are not bound come back as floats by name.</summary>
    /// <param name="inputs">Tensors by name.</param>
    /// <exception cref="UserError">ONNX Runtime stopped with an error, such as a wrong shape or too little memory.</exception>
    public Dictionary<string, float[]> Run(params ReadOnlySpan<(string Name, OrtValue Value)> inputs)
    {
        var names = new List<string>(_bound.Count + inputs.Length);
        var values = new List<OrtValue>(_bound.Count + inputs.Length);
        foreach (var (name, value) in _bound)
        {
            names.Add(name);
            values.Add(value);
        }
        foreach (var (name, value) in inputs)
        {
            names.Add(name);
            values.Add(value);
        }
        try
        {
            var result = new Dictionary<string, float[]>(StringComparer.Ordinal);
            using var outputs = _session.Run(_run, names, values, Outputs);
            for (var i = 0; i < Outputs.Count; i++)
            {
                var data = outputs[i].GetTensorDataAsSpan<float>();
                if (_targets.TryGetValue(Outputs[i], out var target)) data.CopyTo(target.Buffer[target.Name]);
                else result[Outputs[i]] = data.ToArray();
            }
            return result;
        }
        catch (OnnxRuntimeException fault)
        {
            throw new UserError($"ONNX Runtime stopped: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
    }

    // A method of its own, so that nothing holds the bytes when it returns.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static InferenceSession Load(OnnxGraph graph, SessionOptions options) => new(OnnxFile.ToBytes(graph), options);

    private InferenceSession LoadMapped(OnnxGraph graph, SessionOptions options)
    {
        _files = Directory.CreateTempSubdirectory("ortrlhf-").FullName;
        try
        {
            var path = Path.Combine(_files, "model.onnx");
            OnnxFile.Write(graph, path, externalData: true);
            return new InferenceSession(path, options);
        }
        finally
        {
            // A mapped file needs no name any more, but on Windows it cannot lose it.
            if (!OperatingSystem.IsWindows()) Directory.Delete(_files, recursive: true);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _session.Dispose();
        _run.Dispose();
        if (_files is not null && Directory.Exists(_files)) Directory.Delete(_files, recursive: true);
    }
}

/// <summary>Tensors of ONNX Runtime over managed arrays.</summary>
public static class OrtTensors
{
    /// <summary>A float tensor over an array, which is pinned while it lives.</summary>
    public static OrtValue ToOrt(this float[] data, params long[] shape) => OrtValue.CreateTensorValueFromMemory(data, shape);

    /// <summary>An integer tensor over an array, which is pinned while it lives.</summary>
    public static OrtValue ToOrt(this long[] data, params long[] shape) => OrtValue.CreateTensorValueFromMemory(data, shape);
}
