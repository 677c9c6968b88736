using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Learning.Tests.Losses;

/// <summary>A loss on given model outputs, run by ONNX Runtime.</summary>
internal static class LossGraph
{
    /// <summary>Runs it and gives <c>loss</c>, the metrics and <c>gradient</c>, that of the loss by the output.</summary>
    /// <param name="shape">Of the output, [B, C, H, W].</param>
    /// <param name="values">The inputs by name, <c>output</c> among them; one number a sample, or as many as the output.</param>
    /// <param name="algorithm">Writes the loss.</param>
    public static Dictionary<string, float[]> Run(long[] shape, IReadOnlyDictionary<string, float[]> values,
        Func<Value, TrainingLoss> algorithm)
    {
        var graph = new OnnxGraph("loss");
        var output = graph.Input("output", ElementType.Float, [.. shape.Select(size => (Dim)size)]);
        var loss = algorithm(output);
        var gradient = GradientBuilder.Add(loss.Loss, [output])[output];
        graph.Output(loss.Loss, "loss");
        foreach (var (name, value) in loss.Metrics) graph.Output(value, name);
        graph.Output(gradient, "gradient");

        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
        var inputs = session.InputMetadata.Keys.ToDictionary(
            name => name, name => OrtValue.CreateTensorValueFromMemory(values[name], values[name].Length == shape[0] ? [shape[0]] : shape));
        using var run = new RunOptions();
        using var results = session.Run(run, inputs, session.OutputNames);
        foreach (var input in inputs.Values) input.Dispose();
        return session.OutputNames.Zip(results, (name, value) => (name, value.GetTensorDataAsSpan<float>().ToArray())).ToDictionary();
    }

    /// <summary>Checks value and gradient against a formula in double precision, by central differences.</summary>
    public static void Check(Dictionary<string, float[]> result, float[] output, Func<float[], double> formula)
    {
        const float step = 1e-3f;
        Assert.Equal(formula(output), result["loss"][0], 1e-5 * Math.Max(1, Math.Abs(formula(output))));
        var expected = new float[output.Length];
        for (var i = 0; i < expected.Length; i++)
        {
            float[] up = [.. output], down = [.. output];
            (up[i], down[i]) = (output[i] + step, output[i] - step);
            expected[i] = (float)((formula(up) - formula(down)) / ((double)up[i] - down[i]));
        }
        Close.To(expected, result["gradient"], 2e-4, "gradient");
    }
}
