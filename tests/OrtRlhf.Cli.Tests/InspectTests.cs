using System.Text.Json;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class InspectTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void ListsComponents_AndWritesJson()
    {
        using var folder = new TempFolder();
        var output = Cli.Run("inspect", model.Path, "--json", folder.At("report.json"), "--lora-targets", "attn1.to_q").Succeeds().Out;
        Assert.Contains("unet  UNet2DConditionModel, safetensors", output);
        Assert.Contains("takes  encoder_hidden_states: float [batch_size,sequence_length,16]", output);
        Assert.Contains("gradient: every operator has one", output);
        using var json = JsonDocument.Parse(File.ReadAllText(folder.At("report.json")));
        var unet = json.RootElement.GetProperty("components").EnumerateArray().Single(c => c.GetProperty("name").GetString() == "unet");
        Assert.True(unet.GetProperty("parameters").GetInt64() > 1000);
        Assert.All(unet.GetProperty("loraTargets").EnumerateArray(), t => Assert.EndsWith("attn1.to_q", t.GetString()));
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("x.onnx"), "\u001b[31m no model");
        Cli.Run("inspect", folder.At("x.onnx")).FailsWith(1, "not a whole ONNX file");
        Cli.Run("inspect", folder.Path).FailsWith(1, "no model there");
        Directory.CreateDirectory(folder.At("my-model"));
        foreach (var command in (string[][])[["inspect"], ["import", "--output", folder.At("x")]])
            Cli.Run([.. command, folder.At("my-modl")]).FailsWith(1, "there is no such folder (there is",
                "a folder of components, or one component (config.json with safetensors, or model.onnx)");
        Cli.Run("inspect", model.Path, "more").FailsWith(2, "expected one DIR, got 'more' as well");
    }
}
