using System.Reflection;
using Xunit.v3;

namespace OrtRlhf.Tests;

/// <summary>Reference data in tests/Golden.</summary>
internal static class GoldenFile
{
    public static string Repository { get; } = FindRepository();

    public static string Root { get; } = Path.Combine(Repository, "tests", "Golden");

    /// <summary>A file or folder of the reference data; null where this machine does not have it.</summary>
    public static string? Find(string path) => Path.Exists(At(path)) ? At(path) : Beside(path);

    /// <summary>
    /// A set that is too large for the repository and lies beside it, in shared/golden; null where this machine does not have it.
    /// </summary>
    public static string? Beside(string set)
    {
        string[] roots = [Path.Combine(Repository, "..", "shared", "golden"), Path.Combine(Repository, "shared", "golden")];
        return roots.Select(root => Path.GetFullPath(Path.Combine(root, set))).FirstOrDefault(Path.Exists);
    }

    public static string At(params string[] parts) => Path.Combine([Root, .. parts]);

    private static string FindRepository()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "OrtRlhf.sln"))) return folder.FullName;
        }
        throw new DirectoryNotFoundException("OrtRlhf.sln");
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
