using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class ArtifactsTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void WritesTheFile_AndSaysWhatItTakes()
    {
        using var folder = new TempFolder();
        var output = Cli.Run("artifacts", "--model", model.Path, "--method", "dpo", "--lora-rank", "2", "--lora-alpha", "4",
            "--batch-size", "2", "--output", folder.Path).Succeeds().Out;
        Assert.Contains("target: float32 [2,4,8,8]; what the model should have given", output);
        Assert.Contains("outputs: loss, mse, reference_mse, margin, accuracy", output);
        var graph = OnnxFile.Read(folder.At("training_model.onnx"));
        Assert.Equal(["sample", "timestep", "encoder_hidden_states", "target"], graph.Inputs.Take(4).Select(i => i.Name));
        Assert.All(graph.Inputs.Skip(4), i => Assert.Matches(@"^unet\..*\.lora_[AB]\.weight$", i.Name));
        Assert.All(graph.Inputs.Skip(4), i => Assert.Contains(graph.Outputs, o => o.Name == i.Name + "_grad"));
        var adapter = SafetensorsFile.Open(folder.At("adapter.safetensors"));
        Assert.Equal(graph.Inputs.Skip(4).Select(i => i.Name).Order(StringComparer.Ordinal),
            adapter.Tensors.Keys.Order(StringComparer.Ordinal));
        Assert.Contains("\"unet.lora_alpha\":4", adapter.Metadata["lora_adapter_metadata"]);
    }

    [Fact]
    public void OrtTraining_WritesFourArtifacts()
    {
        using var folder = new TempFolder();
        Cli.Run("artifacts", "--model", model.Path, "--format", "ort-training", "--output", folder.Path).Succeeds();
        Assert.Equal(["checkpoint", "eval_model.onnx", "optimizer_model.onnx", "training_model.onnx"],
            Directory.EnumerateFiles(folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal("ODTC"u8, File.ReadAllBytes(folder.At("checkpoint")).AsSpan(4, 4));
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        using var folder = new TempFolder();
        Cli.Run("artifacts", "--model", model.Path).FailsWith(2, "option --output is missing");
        Cli.Run("artifacts", "--model", model.Path, "--method", "dpo", "--batch-size", "3", "--output", folder.Path)
            .FailsWith(2, "expected an even number, got 3");
        Cli.Run("artifacts", "--model", model.Path, "--weight-decay", "1", "--output", folder.Path)
            .FailsWith(2, "add --format ort-training");
        Cli.Run("artifacts", "--model", model.Path, "--lora-targets", "to_z", "--output", folder.Path)
            .FailsWith(1, "LoRA target 'to_z'", "near ones are");
    }
}
