using System.Text;
using OrtRlhf.Tuning.Images;

namespace OrtRlhf.Tuning.Tests;

/// <summary>Reference data in tests/Golden.</summary>
internal static class GoldenFile
{
    public static string Root { get; } = Path.Combine(Repository(), "tests", "Golden");

    /// <summary>A set that is too large for the repository and lies beside it, in shared/golden; null where this machine does not have it.</summary>
    public static string? Beside(string set)
    {
        string[] roots = [Path.Combine(Repository(), "..", "shared", "golden"), Path.Combine(Repository(), "shared", "golden")];
        return roots.Select(root => Path.GetFullPath(Path.Combine(root, set))).FirstOrDefault(Path.Exists);
    }

    public static string At(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>A NumPy file of uint8 [H,W,3].</summary>
    public static RgbImage ReadNpyImage(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var headerLength = BitConverter.ToUInt16(bytes, 8);
        var header = Encoding.ASCII.GetString(bytes, 10, headerLength);
        Assert.Contains("'descr': '|u1'", header);
        var shape = header.Split('(')[1].Split(')')[0].Split(',').Select(int.Parse).ToArray();
        return new RgbImage(shape[1], shape[0], bytes[(10 + headerLength)..]);
    }

    private static string Repository()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "OrtRlhf.sln"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException("OrtRlhf.sln");
    }
}

/// <summary>A test that needs reference data too large for the repository.</summary>
internal sealed class GoldenFactAttribute : FactAttribute
{
    public GoldenFactAttribute(string set)
    {
        if (GoldenFile.Beside(set) is null) Skip = $"reference data '{set}' is not in shared/golden beside the repository";
    }
}
