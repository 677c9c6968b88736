using System.Text.Json.Nodes;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class DoctorTests
{
    [Fact]
    public void Json_SaysWhatWorks()
    {
        var result = Cli.Run("doctor", "--json");
        var json = JsonNode.Parse(result.Out)!;
        var devices = json["devices"]!.AsArray().ToDictionary(d => (string)d!["device"]!);
        Assert.Equal(["cpu", "cuda", "webgpu"], devices.Keys);
        Assert.True((bool)devices["cpu"]!["works"]!);
        Assert.All(devices.Values.Where(d => !(bool)d!["works"]!), d => Assert.True(((string?)d!["remedy"])?.Length > 20, $"{d}"));
        Assert.Matches(@"^\d+\.\d+", (string)json["machine"]!["onnxRuntime"]!);
        Assert.Contains("CPUExecutionProvider", json["machine"]!["providers"]!.AsArray().Select(name => (string)name!));
        Assert.Matches(@"^8\.", (string)json["machine"]!["libvips"]!);
        Assert.True((int)json["machine"]!["cores"]! >= 1);
        Assert.Contains(json["machine"]!["nativeLibraries"]!.AsArray(), path => ((string)path!).Contains("onnxruntime"));
        Assert.Equal((bool)json["model"]!["works"]! ? 0 : 1, result.ExitCode);
    }

    [Fact]
    public void Table_HasALineADevice()
    {
        var output = Cli.Run("doctor").Out;
        Assert.Contains("works  cpu ", output);
        Assert.Matches("(works|no   )  cuda ", output);
        Assert.DoesNotContain('\u001b', output);
    }

    [Fact]
    public void Variable_NamesTheLibraryThatIsLoaded()
    {
        using var folder = new TempFolder();
        var own = (string)JsonNode.Parse(Cli.Run("doctor", "--json").Out)!["machine"]!["nativeLibraries"]!.AsArray().Single(path =>
            ((string)path!).Contains("onnxruntime"))!;
        File.Copy(own, folder.At("other-onnxruntime.so"));
        var machine = JsonNode.Parse(With(folder.At("other-onnxruntime.so")).Out)!["machine"]!;
        Assert.Equal(folder.At("other-onnxruntime.so"),
            (string)machine["nativeLibraries"]!.AsArray().Single(path => ((string)path!).Contains("onnxruntime"))!);
        Assert.Contains("CPUExecutionProvider", machine["providers"]!.AsArray().Select(name => (string)name!));
    }

    [Fact]
    public void Variable_NamesWhatIsNone_SaysSoAndLoadsNoOther()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("onnxruntime.so"), "none");
        var result = With(folder.At("onnxruntime.so"));
        var json = JsonNode.Parse(result.Out)!;
        Assert.Equal(1, result.ExitCode);
        Assert.Contains("ORTRLHF_ORT_LIBRARY", (string)json["devices"]![0]!["detail"]!);
        Assert.Contains("unset", (string)json["devices"]![0]!["remedy"]!);
        Assert.DoesNotContain(json["machine"]!["nativeLibraries"]!.AsArray(), path => ((string)path!).Contains("onnxruntime"));
    }

    private static CliResult With(string library) =>
        Cli.Finish(Cli.StartWith(new() { ["ORTRLHF_ORT_LIBRARY"] = library }, "doctor", "--json"));
}
