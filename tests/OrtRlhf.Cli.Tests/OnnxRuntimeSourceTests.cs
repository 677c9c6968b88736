using System.Diagnostics;
using System.Text.Json;

namespace OrtRlhf.Cli.Tests;

/// <summary>The build property <c>OnnxRuntimeFrom</c>, as MSBuild evaluates it.</summary>
public class OnnxRuntimeSourceTests
{
    private const string OfficialPackage = "Microsoft.ML.OnnxRuntime.Gpu";
    private const string OfficialSource = "onnxruntime/InferenceSession.shared.g.cs";

    [Fact]
    public void OnnxRuntimeFrom_Nuget_ReferencesTheOfficialPackage()
    {
        var items = Evaluate("nuget");

        Assert.Contains(OfficialPackage, items["PackageReference"]);
        Assert.DoesNotContain(items["Compile"], c => c.EndsWith(OfficialSource, StringComparison.Ordinal));
        Assert.DoesNotContain(items["None"], n => n.Contains("onnxruntime-node", StringComparison.Ordinal));
    }

    [Fact]
    public void OnnxRuntimeFrom_Npm_CompilesTheOfficialSources()
    {
        var items = Evaluate("npm");

        Assert.DoesNotContain(OfficialPackage, items["PackageReference"]);
        Assert.Contains(items["Compile"], c => c.EndsWith(OfficialSource, StringComparison.Ordinal));
        Assert.Contains(items["None"], n => n.Contains("onnxruntime-node", StringComparison.Ordinal));
    }

    private static Dictionary<string, string[]> Evaluate(string from)
    {
        var root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "OrtRlhf.sln"))) root = Path.GetDirectoryName(root.TrimEnd(Path.DirectorySeparatorChar))!;
        var start = new ProcessStartInfo("dotnet")
        {
            WorkingDirectory = root,
            RedirectStandardOutput = true,
            ArgumentList =
            {
                "msbuild", "src/OnnxRuntime/OnnxRuntime.csproj", "-nodeReuse:false", $"-p:OnnxRuntimeFrom={from}", "-p:Configuration=Release",
                "-t:CollectNativeSources", "-getItem:PackageReference,Compile,None",
            },
        };
        foreach (var name in start.Environment.Keys.Where(n => n.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray()) start.Environment.Remove(name);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, output);
        using var json = JsonDocument.Parse(output);
        return json.RootElement.GetProperty("Items").EnumerateObject().ToDictionary(
            p => p.Name, p => p.Value.EnumerateArray().Select(i => i.GetProperty("Identity").GetString()!.Replace('\\', '/')).ToArray());
    }
}
