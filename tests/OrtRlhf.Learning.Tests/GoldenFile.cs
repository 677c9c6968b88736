using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.Json;
using Xunit.v3;

namespace OrtRlhf.Learning.Tests;

/// <summary>
/// A safetensors file of the reference data, and the JSON beside it: tests/Golden, or shared/golden beside the repository for larger sets.
/// </summary>
internal sealed class GoldenFile
{
    private readonly byte[] bytes;
    private readonly int dataStart;
    private readonly JsonElement header;

    public GoldenFile(string path)
    {
        bytes = File.ReadAllBytes(Locate(path));
        dataStart = 8 + (int)BitConverter.ToInt64(bytes, 0);
        header = JsonDocument.Parse(bytes.AsMemory(8, dataStart - 8)).RootElement;
    }

    public static string Locate(string path) => Find(path) ?? throw new FileNotFoundException($"no reference data '{path}'");

    /// <summary>Path of a file or folder; null where this machine does not have it.</summary>
    public static string? Find(string path)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder.FullName, "OrtRlhf.sln")))
            folder = folder.Parent ?? throw new DirectoryNotFoundException("OrtRlhf.sln");
        string[][] roots = [["tests", "Golden"], ["..", "shared", "golden"], ["shared", "golden"]];
        return roots.Select(root => Path.GetFullPath(Path.Combine([folder.FullName, .. root, path]))).FirstOrDefault(Path.Exists);
    }

    public static JsonElement Json(string path) => JsonDocument.Parse(File.ReadAllText(Locate(path))).RootElement;

    public float[] Floats(string name) => Read<float>(name, "F32");

    public long[] Longs(string name) => Read<long>(name, "I64");

    /// <summary>Row i of a tensor's first axis.</summary>
    public float[] Row(string name, int i)
    {
        var all = Floats(name);
        var length = all.Length / header.GetProperty(name).GetProperty("shape")[0].GetInt32();
        return all[(i * length)..((i + 1) * length)];
    }

    private T[] Read<T>(string name, string type) where T : struct
    {
        var entry = header.GetProperty(name);
        Assert.Equal(type, entry.GetProperty("dtype").GetString());
        var offsets = entry.GetProperty("data_offsets");
        var (from, to) = (offsets[0].GetInt32(), offsets[1].GetInt32());
        return MemoryMarshal.Cast<byte, T>(bytes.AsSpan(dataStart + from, to - from)).ToArray();
    }
}

/// <summary>Skips a test that needs reference data too large for the repository, where this machine does not have it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class NeedsGoldenAttribute(string path) : BeforeAfterTestAttribute
{
    public override void Before(MethodInfo methodUnderTest, IXunitTest test) =>
        Assert.SkipWhen(GoldenFile.Find(path) is null,
            $"reference data '{path}' is neither in tests/Golden nor in shared/golden beside the repository");
}

internal static class Close
{
    /// <summary>Largest error over largest value.</summary>
    public static void To(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, double tolerance, string what = "")
    {
        Assert.Equal(expected.Length, actual.Length);
        var (worst, most) = (0.0, 0.0);
        for (var i = 0; i < expected.Length; i++)
        {
            worst = Math.Max(worst, double.IsNaN(actual[i]) ? double.PositiveInfinity : Math.Abs((double)expected[i] - actual[i]));
            most = Math.Max(most, Math.Abs(expected[i]));
        }
        Assert.True(worst <= tolerance * most, $"{what}: max error {worst:g3} over max value {most:g3} is above {tolerance:g2}");
    }
}
