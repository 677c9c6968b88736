namespace OrtRlhf.Tests;

/// <summary>The measure of parity tests: max |got - expected| / max |expected|.</summary>
internal static class Numbers
{
    public static double Error(ReadOnlySpan<float> expected, ReadOnlySpan<float> got)
    {
        Assert.Equal(expected.Length, got.Length);
        double error = 0, size = 1e-30;
        for (var i = 0; i < got.Length; i++)
        {
            error = Math.Max(error, float.IsNaN(got[i]) ? double.PositiveInfinity : Math.Abs((double)expected[i] - got[i]));
            size = Math.Max(size, Math.Abs(expected[i]));
        }
        return error / size;
    }

    public static void Close(ReadOnlySpan<float> expected, ReadOnlySpan<float> got, double tolerance)
    {
        var error = Error(expected, got);
        Assert.True(error < tolerance, $"max error / max value is {error:E2}, expected below {tolerance:E1}");
    }
}
