using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Tuning.Sessions;

/// <summary>A graph loaded into ONNX Runtime, run with tensors by name; parameters are bound once from buffers.</summary>
public sealed class GraphSession : IDisposable
{
    private readonly InferenceSession _session;
    private readonly RunOptions _run = new();
    private readonly Dictionary<string, OrtValue> _bound = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (ParameterBuffer Buffer, string Name)> _targets = new(StringComparer.Ordinal);

    /// <summary>Loads a graph.</summary>
    /// <exception cref="UserError">ONNX Runtime refuses it, or the device does not work.</exception>
    public GraphSession(OnnxGraph graph, SessionSettings settings) : this(OnnxFile.ToBytes(graph), graph.Name, settings)
    {
    }

    /// <summary>Loads a serialised model.</summary>
    public GraphSession(byte[] model, string name, SessionSettings settings)
    {
        using var options = settings.ToOptions();
        try
        {
            _session = new InferenceSession(model, options);
        }
        catch (OnnxRuntimeException fault)
        {
            throw new UserError($"model '{name}': ONNX Runtime does not take it: {fault.Message.ReplaceLineEndings(" ")}", fault);
        }
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

    /// <inheritdoc/>
    public void Dispose()
    {
        _session.Dispose();
        _run.Dispose();
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
