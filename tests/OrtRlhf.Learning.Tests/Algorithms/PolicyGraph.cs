using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Learning.Algorithms;

namespace OrtRlhf.Learning.Tests.Algorithms;

/// <summary>A loss on given model outputs, run by ONNX Runtime: loss, metrics, and the gradient by the output.</summary>
internal static class PolicyGraph
{
    public sealed record Batch(
        long[] Shape, float[] Output, float[] X, float[] Next, float[] CX, float[] CM, float[] Sigma, float[] OldLogProb, float[] Advantage,
        float[]? Reference = null);

    public static Dictionary<string, float[]> Run(Batch batch, Func<PolicyTransition, TrainingLoss> algorithm)
    {
        var graph = new OnnxGraph("loss");
        Dim[] latent = [.. batch.Shape.Select(size => (Dim)size)];
        var output = graph.Input("output", ElementType.Float, latent);
        var transition = PolicyTransition.Inputs(output, graph.Input("sample", ElementType.Float, latent), batch.Reference is not null);
        var loss = algorithm(transition);
        var gradient = GradientBuilder.Add(loss.Loss, [output])[output];
        graph.Output(loss.Loss, "loss");
        foreach (var (name, value) in loss.Metrics)
            graph.Output(value, name);
        graph.Output(gradient, "gradient");

        using var options = new SessionOptions { IntraOpNumThreads = 1, LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR };
        using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
        var values = new Dictionary<string, float[]?>
        {
            ["output"] = batch.Output,
            ["sample"] = batch.X,
            ["next_sample"] = batch.Next,
            ["c_x"] = batch.CX,
            ["c_m"] = batch.CM,
            ["sigma"] = batch.Sigma,
            ["old_log_prob"] = batch.OldLogProb,
            ["advantage"] = batch.Advantage,
            ["reference"] = batch.Reference,
        };
        var inputs = session.InputMetadata.Keys.ToDictionary(
            name => name,
            name => OrtValue.CreateTensorValueFromMemory(values[name]!, values[name]!.Length == batch.Shape[0] ? [batch.Shape[0]] : batch.Shape));
        using var results = session.Run(new RunOptions(), inputs, session.OutputNames);
        foreach (var input in inputs.Values)
            input.Dispose();
        return session.OutputNames.Zip(results, (name, value) => (name, value.GetTensorDataAsSpan<float>().ToArray())).ToDictionary();
    }
}
