using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;

namespace OrtRlhf.Tests;

/// <summary>
/// Reference data: small sets lie in tests/Golden, the rest beside the repository in shared/golden (a machine without it skips those
/// tests).
/// </summary>
internal static class Golden
{
    /// <inheritdoc cref="GoldenFile.Find"/>
    public static string? Find(string path) => GoldenFile.Find(path);

    public static string At(string path) => Find(path) ?? throw new FileNotFoundException(path);

    public static SafetensorsFile Tensors(string path) => SafetensorsFile.Open(At(path));

    public static string Text(string path) => File.ReadAllText(At(path));

    public static Weights WeightsOf(string path, bool trainable = false, ElementType type = ElementType.Float) =>
        new(Tensors(path).Tensors, trainable, type);

    /// <summary>max |a - b| / max |b|, the measure of all parity tests.</summary>
    public static double Error(Tensor got, Tensor expected)
    {
        Assert.Equal(expected.Dims, got.Dims);
        float[] a = got.ToFloats(), b = expected.ToFloats();
        double difference = 0, size = 0;
        for (var i = 0; i < a.Length; i++)
        {
            difference = Math.Max(difference, float.IsNaN(a[i]) ? double.PositiveInfinity : Math.Abs((double)a[i] - b[i]));
            size = Math.Max(size, Math.Abs(b[i]));
        }
        return difference / Math.Max(size, 1e-30);
    }

    public static void Close(Tensor got, Tensor expected, double tolerance = 1e-4)
    {
        var error = Error(got, expected);
        Assert.True(error < tolerance, $"max error / max value is {error:E2}, expected below {tolerance:E1}");
    }
}
