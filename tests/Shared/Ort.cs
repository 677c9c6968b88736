using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using Tensor = OrtRlhf.Graph.Tensor;

namespace OrtRlhf.Tests;

/// <summary>Runs graphs on ONNX Runtime, on one thread.</summary>
internal static class Ort
{
    /// <summary>Options every test runs with.</summary>
    public static SessionOptions Options() => new()
    {
        IntraOpNumThreads = 1,
        InterOpNumThreads = 1,
        LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
    };

    /// <summary>Loads a graph, runs it once, and gives all outputs by name.</summary>
    public static Dictionary<string, Tensor> Run(OnnxGraph graph, params (string Name, Tensor Data)[] inputs)
    {
        using var options = Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
        return Run(session, inputs);
    }

    /// <summary>Runs a session once.</summary>
    public static Dictionary<string, Tensor> Run(InferenceSession session, params (string Name, Tensor Data)[] inputs)
    {
        using var options = new RunOptions();
        return Run(session, options, inputs);
    }

    /// <summary>Runs a session once with the given options.</summary>
    public static Dictionary<string, Tensor> Run(InferenceSession session, RunOptions options, params (string Name, Tensor Data)[] inputs)
    {
        var values = inputs.Select(i => ToOrt(i.Data)).ToArray();
        var names = session.OutputNames.ToArray();
        try
        {
            using var outputs = session.Run(options, [.. inputs.Select(i => i.Name)], values, names);
            return names.Zip(outputs, (name, value) => (name, FromOrt(value))).ToDictionary(p => p.name, p => p.Item2);
        }
        finally
        {
            foreach (var value in values) value.Dispose();
        }
    }

    private static OrtValue ToOrt(Tensor tensor)
    {
        var value = OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, (TensorElementType)tensor.Type, tensor.Dims);
        if (tensor.Count > 0) tensor.Bytes().CopyTo(value.GetTensorMutableRawData());
        return value;
    }

    private static Tensor FromOrt(OrtValue value)
    {
        var info = value.GetTensorTypeAndShape();
        return new Tensor((ElementType)info.ElementDataType, info.Shape, info.ElementCount == 0 ? []
            : value.GetTensorMutableRawData().ToArray());
    }
}
