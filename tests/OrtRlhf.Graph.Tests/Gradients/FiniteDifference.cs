using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Gradients;

/// <summary>
/// Compares the gradients of sum(c y), c fixed and random, by every element of every parameter with differences of five points:
/// (f(-2h) - 8 f(-h) + 8 f(h) - f(2h)) / 12h, the sums taken in double. Cases keep kinks further than 2h away.
/// </summary>
internal static class FiniteDifference
{
    private const float H = 0.02f;

    private const double Tolerance = 5e-4;

    /// <summary>Checks all gradients together, and each again with no other one wanted.</summary>
    public static void Check(Func<OnnxGraph, Value> build, GradientOptions? prefer = null)
    {
        using var options = Ort.Options();
        var forward = new OnnxGraph("forward");
        forward.Output(build(forward), "y");
        var parameters = forward.Inputs.Where(i => i.Data is not null).Select(i => (i.Name, Data: i.Data!)).ToArray();
        Assert.NotEmpty(parameters);
        using var session = new InferenceSession(OnnxFile.ToBytes(forward), options);
        var weights = Numbers.Normal(99, Ort.Run(session)["y"].Dims);

        var gradients = Gradients(build, weights, null, prefer);
        foreach (var (name, data) in parameters)
        {
            var expected = Difference(session, name, data, weights.ToFloats());
            Numbers.AssertClose(expected, gradients[name], Tolerance);
            Numbers.AssertClose(gradients[name], Gradients(build, weights, name, prefer)[name], 1e-6);
        }
    }

    /// <summary>Gradients by name, of all parameters or of one.</summary>
    public static Dictionary<string, Tensor> Gradients(Func<OnnxGraph, Value> build, Tensor weights, string? only,
        GradientOptions? prefer = null)
    {
        var graph = new OnnxGraph("backward");
        var y = build(graph);
        var parameters = graph.Inputs.Where(i => i.Data is not null && (only is null || i.Name == only)).ToArray();
        foreach (var (parameter, gradient) in GradientBuilder.Add(Sum(y * graph.Constant(weights)), parameters,
            prefer)) graph.Output(gradient, parameter.Name + "_grad");
        return Ort.Run(graph).ToDictionary(o => o.Key[..^"_grad".Length], o => o.Value);
    }

    private static Tensor Difference(InferenceSession session, string name, Tensor data, float[] weights)
    {
        var values = data.ToFloats();
        var result = new float[values.Length];
        for (var i = 0; i < values.Length; i++)
            result[i] = (float)(((At(i, -2) - At(i, 2)) + (8 * (At(i, 1) - At(i, -1)))) / (12 * H));
        return Tensor.Of(result, data.Dims);

        double At(int element, int steps)
        {
            var moved = (float[])values.Clone();
            moved[element] += steps * H;
            var y = Ort.Run(session, (name, Tensor.Of(moved, data.Dims)))["y"].ToFloats();
            return y.Zip(weights, (a, b) => (double)a * b).Sum();
        }
    }
}
