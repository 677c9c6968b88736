using OrtRlhf.Graph;
using OrtRlhf.Learning.Losses;

namespace OrtRlhf.Learning.Tests.Losses;

/// <summary>A loss on given model outputs, run by ONNX Runtime: loss, metrics, and the gradient by the output.</summary>
internal static class PolicyGraph
{
    public sealed record Batch(
        long[] Shape, float[] Output, float[] X, float[] Next, float[] CX, float[] CM, float[] Sigma, float[] OldLogProb, float[] Advantage,
        float[]? Reference = null);

    public static Dictionary<string, float[]> Run(Batch batch, Func<PolicyTransition, TrainingLoss> algorithm)
    {
        var values = new Dictionary<string, float[]>
        {
            ["output"] = batch.Output,
            ["sample"] = batch.X,
            ["next_sample"] = batch.Next,
            ["c_x"] = batch.CX,
            ["c_m"] = batch.CM,
            ["sigma"] = batch.Sigma,
            ["old_log_prob"] = batch.OldLogProb,
            ["advantage"] = batch.Advantage,
        };
        if (batch.Reference is not null) values["reference"] = batch.Reference;
        return LossGraph.Run(batch.Shape, values, output => algorithm(PolicyTransition.Inputs(
            output, output.Graph.Input("sample", ElementType.Float, [.. batch.Shape.Select(size => (Dim)size)]),
                batch.Reference is not null)));
    }
}
