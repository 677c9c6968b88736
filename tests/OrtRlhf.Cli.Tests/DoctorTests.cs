using System.Text.Json.Nodes;

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
}
