namespace OrtRlhf.Graph.Tests;

/// <summary>Tensors of random numbers, and how far two tensors are apart.</summary>
internal static class Numbers
{
    /// <summary>Normal numbers of a fixed seed.</summary>
    public static Tensor Normal(int seed, params long[] dims)
    {
        var random = new Random(seed);
        var values = new float[dims.Aggregate(1L, (a, b) => a * b)];
        for (var i = 0; i < values.Length; i++)
            values[i] = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
        return Tensor.Of(values, dims);
    }

    /// <summary>The largest deviation over the largest value of the reference.</summary>
    public static double Error(Tensor actual, Tensor expected)
    {
        Assert.Equal(expected.Dims, actual.Dims);
        float[] a = actual.ToFloats(), e = expected.ToFloats();
        double worst = 0, largest = 1e-30;
        for (var i = 0; i < a.Length; i++)
        {
            worst = Math.Max(worst, double.IsNaN(a[i]) ? double.PositiveInfinity : Math.Abs((double)a[i] - e[i]));
            largest = Math.Max(largest, Math.Abs(e[i]));
        }
        return worst / largest;
    }

    /// <summary>Asserts that two tensors agree: largest deviation over largest value.</summary>
    public static void AssertClose(Tensor expected, Tensor actual, double tolerance)
    {
        var error = Error(actual, expected);
        Assert.True(error <= tolerance, $"error {error:g3} is above {tolerance:g3}");
    }
}
