using System.Runtime.CompilerServices;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>
/// A graph loaded into ONNX Runtime, run with tensors by name; parameters are bound once from buffers. It may run on several threads at a
/// time; those that bind
/// different buffers take a session each that shares what is loaded (<see cref="Share"/>).
/// </summary>
public sealed class GraphSession : IDisposable
{
    private const long LargeModel = 32 << 20, LargestInMemory = 1_900_000_000; // bytes of weights; 2 GB take the nodes in, too
    private static int _live;
    private readonly Loaded _loaded;
    private readonly RunOptions _run;
    private readonly Dictionary<string, OrtValue> _bound = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (ParameterBuffer Buffer, string Name)> _targets = new(StringComparer.Ordinal);

    /// <summary>
    /// Loads a graph. With little memory its weights go through a temporary file, which the runtime maps, rather than through copies; so do
    /// those of a model
    /// above 2 GB, which ONNX Runtime does not take from memory. The graph stays as it is.
    /// </summary>
    /// <exception cref="UserError">ONNX Runtime refuses it, the temporary folder is full, or the device does not work.</exception>
    public GraphSession(OnnxGraph graph, SessionSettings settings)
    {
        _loaded = Loaded.Of(graph, settings);
        _run = new();
        // What loading left over is as large as the weights several times, and would stay until the next collection, which may never come.
        if (_loaded.IsLarge) GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        Inputs = [.. _loaded.Session.InputMetadata.Keys];
        Overridable = [.. _loaded.Session.OverridableInitializerMetadata.Keys];
        Outputs = [.. _loaded.Session.OutputMetadata.Keys];
    }

    private GraphSession(GraphSession other)
    {
        (_run, _loaded, Inputs, Overridable, Outputs) = (new(), other._loaded.Share(), other.Inputs, other.Overridable, other.Outputs);
        foreach (var (name, value) in other._bound) _bound[name] = value;
    }

    /// <summary>
    /// Sessions to run side by side. Those of a large model that have one thread each, their caller's, share one in ONNX Runtime, so that
    /// the weights lie in memory once;
    /// others have their own, and with it memory that stays in the cache of one core.
    /// </summary>
    /// <param name="graph">The graph.</param>
    /// <param name="each">The settings of each.</param>
    /// <param name="count">How many, at least 1.</param>
    /// <exception cref="UserError">As the constructor.</exception>
    public static IReadOnlyList<GraphSession> Load(OnnxGraph graph, SessionSettings each, int count)
    {
        var sessions = new List<GraphSession> { new(graph, each) };
        try
        {
            while (sessions.Count < count) sessions.Add(each.Threads == 1 && sessions[0]._loaded.IsLarge ? sessions[0].Share()
                : new(graph, each));
            return sessions;
        }
        catch
        {
            sessions.ForEach(session => session.Dispose());
            throw;
        }
    }

    /// <summary>
    /// Another session of what this one has loaded, which lives on by itself. It takes the parameters that are bound so far; outputs it
    /// binds itself.
    /// </summary>
    public GraphSession Share() => new(this);

    /// <summary>Sessions of ONNX Runtime that graphs are loaded in and nobody has disposed.</summary>
    internal static int Live => Volatile.Read(ref _live);

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
            using var outputs = _loaded.Session.Run(_run, names, values, Outputs);
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

    /// <inheritdoc/>
    public void Dispose()
    {
        _loaded.Dispose();
        _run.Dispose();
    }

    /// <summary>A session of ONNX Runtime, and the folder its weights lie in, for as long as somebody uses it.</summary>
    private sealed class Loaded : IDisposable
    {
        private readonly string? _files;
        private int _users = 1;

        private Loaded(InferenceSession session, string? files, long bytes)
        {
            (Session, _files, IsLarge) = (session, files, bytes > LargeModel);
            Interlocked.Increment(ref _live);
        }

        public InferenceSession Session { get; }

        public bool IsLarge { get; }

        // A method of its own, so that nothing holds the copy of the graph when it returns.
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static Loaded Of(OnnxGraph given, SessionSettings settings)
        {
            var graph = given.Copy(); // the passes are for this session alone
            using var options = settings.ToOptions();
            if (settings.Device == "cpu")
            {
                FuseAttention.Apply(graph);
                if (!settings.LowMemory)
                {
                    // Weights larger or made anew at each run.
                    AddAdaptersToWeights.Apply(graph);
                    SplitUpsampling.Apply(graph);
                    SplitGates.Apply(graph);
                }
            }
            LowerComposites.Apply(graph);
            if (settings is { Device: "cpu", Threads: 1 }) FuseChannelAffine.Apply(graph); // its kernel knows no threads
            // Else they would be made single while the model is loaded, or once for both passes, and kept so.
            if (WeightsInHalves.Keep(graph))
            {
                options.AddSessionConfigEntry("optimization.disable_specified_optimizers", "CommonSubexpressionElimination");
                // layouts of convolutions are made of constants; 1.29.0 stops the process at others
                options.GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_EXTENDED;
            }
            var bytes = graph.Values.Values.Sum(v => v.Data?.ByteLength ?? 0);
            try
            {
                return settings.LowMemory || bytes > LargestInMemory ? Mapped(graph, options, bytes)
                    : new(new InferenceSession(OnnxFile.ToBytes(graph), options), null, bytes);
            }
            catch (OnnxRuntimeException fault)
            {
                throw new UserError($"model '{graph.Name}': ONNX Runtime does not take it: {fault.Message.ReplaceLineEndings(" ")}", fault);
            }
        }

        private static Loaded Mapped(OnnxGraph graph, SessionOptions options, long bytes)
        {
            var files = Directory.CreateTempSubdirectory("ortrlhf-").FullName;
            try
            {
                var path = Path.Combine(files, "model.onnx");
                OnnxFile.Write(graph, path, externalData: true);
                return new Loaded(new InferenceSession(path, options), files, bytes);
            }
            finally
            {
                // A mapped file needs no name any more, but on Windows it cannot lose it.
                if (!OperatingSystem.IsWindows()) Directory.Delete(files, recursive: true);
            }
        }

        public Loaded Share()
        {
            Interlocked.Increment(ref _users);
            return this;
        }

        public void Dispose()
        {
            if (Interlocked.Decrement(ref _users) != 0) return;
            Session.Dispose();
            Interlocked.Decrement(ref _live);
            if (_files is not null && Directory.Exists(_files)) Directory.Delete(_files, recursive: true);
        }
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
