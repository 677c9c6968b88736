using System.Text.Json.Nodes;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;

namespace OrtRlhf.Cli.Tests;

public class SampleTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void WritesImagesGridAndList_TheSameForTheSameSeed()
    {
        using var folder = new TempFolder();
        string[] common = ["sample", model.Path, "--steps", "2", "--threads", "1", "--seed", "7"];
        Cli.Run([.. common, "--prompt", "a {red|blue} dot", "--prompt=b", "--count", "2", "--output", folder.At("one")]).Succeeds();
        var names = Directory.GetFiles(folder.At("one"), "*.png").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)
            .ToArray();
        Assert.Equal(["0001-a-red-dot-7.png", "0002-a-red-dot-8.png", "0003-a-blue-dot-7.png", "0004-a-blue-dot-8.png", "0005-b-7.png",
            "0006-b-8.png", "grid.png"], names);
        var image = ImageCodec.Read(folder.At("one", names[0]));
        Assert.Equal((16, 16), (image.Width, image.Height));
        Assert.True(ImageCodec.Read(folder.At("one", "grid.png")).Width > 2 * 144);
        var list = JsonNode.Parse(File.ReadAllText(folder.At("one", "samples.json")))!;
        Assert.Equal(("tiny", "a red dot", 8),
            ((string)list["model"]!, (string)list["images"]![1]!["prompt"]!, (int)list["images"]![1]!["seed"]!));

        File.WriteAllText(folder.At("prompts.txt"), "a blue dot\n");
        Cli.Run([.. common, "--prompts", folder.At("prompts.txt"), "--output", folder.At("two")]).Succeeds();
        Assert.Equal(File.ReadAllBytes(folder.At("one", "0003-a-blue-dot-7.png")),
            File.ReadAllBytes(folder.At("two", "0001-a-blue-dot-7.png")));
    }

    [Theory]
    [InlineData("--eta", "0")]
    [InlineData("--sampler", "dpm-solver++")]
    public void Samplers_DrawOtherImages(params string[] options)
    {
        using var folder = new TempFolder();
        string[] common = ["sample", "--steps", "3", "--threads", "1", "--prompt", "a", model.Path]; // the model last, as one may
        Cli.Run([.. common, "--output", folder.At("ddim")]).Succeeds();
        Cli.Run([.. common, "--output", folder.At("other"), .. options]).Succeeds();
        Assert.NotEqual(File.ReadAllBytes(folder.At("ddim", "0001-a-0.png")), File.ReadAllBytes(folder.At("other", "0001-a-0.png")));
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        using var folder = new TempFolder();
        string[] common = ["sample", "--prompt", "a", "--threads", "1", "--output", folder.At("out")];
        Cli.Run([.. common, folder.At("none")]).FailsWith(1, "none", "there is no such folder");
        Cli.Run([.. common, model.Path, "--adapter", folder.At("none.safetensors")])
            .FailsWith(1, "none.safetensors", "there is no such file");
        File.WriteAllText(folder.At("half.onnx_adapter"), "TORT");
        Cli.Run([.. common, model.Path, "--adapter", folder.At("half.onnx_adapter")])
            .FailsWith(1, "half.onnx_adapter", "not an .onnx_adapter file");
        Cli.Run("sample", model.Path, "--prompts", folder.At("none.txt")).FailsWith(1, "none.txt", "no such prompt file");
        Cli.Run([.. common, model.Path, "--device", "cuda"]).FailsWith(1, "device 'cuda' does not work here", "ortrlhf doctor");
        Cli.Run([.. common, model.Path, "--device", "webgpu"]).FailsWith(1, "device 'webgpu' does not work here", "ortrlhf doctor");
        Cli.Run("sample", model.Path, "--prompt", "a", "--output", folder.At("half.onnx_adapter", "x"))
            .FailsWith(1, "--output: expected a folder, but", "half.onnx_adapter' is a file");
        Assert.False(Directory.Exists(folder.At("out")));
    }

    [Theory]
    [InlineData("unet/diffusion_pytorch_model.safetensors")]
    [InlineData("text_encoder/model.safetensors")]
    [InlineData("unet/config.json")]
    [InlineData("tokenizer/vocab.json")]
    public void TruncatedFile_IsOneLineThatNamesIt(string file)
    {
        using var folder = new TempFolder();
        var path = Path.Combine(TinyModel.Write(folder.At("model")), file);
        using (var stream = File.OpenWrite(path)) stream.SetLength(stream.Length / 2);
        Cli.Run("sample", folder.At("model"), "--prompt", "a", "--output", folder.At("out")).FailsWith(1, Path.GetFileName(file));
    }

    [Fact]
    public void TruncatedOnnxFile_IsOneLineThatNamesIt()
    {
        using var folder = new TempFolder();
        TinyModel.Write(folder.At("model"));
        File.Delete(folder.At("model", "unet", "diffusion_pytorch_model.safetensors"));
        var config = Models.UNet2DConditionConfig.Parse(File.ReadAllText(folder.At("model", "unet", "config.json")));
        var graph = Models.UNet2DConditionModel.Build(config,
            new Models.Weights((_, shape) => Graph.Tensor.Of(new float[shape.Aggregate(1L, (a, b) => a * b)], shape)));
        var bytes = Graph.Formats.OnnxFile.ToBytes(graph);
        File.WriteAllBytes(folder.At("model", "unet", "model.onnx"), bytes[..(bytes.Length / 2)]);
        Cli.Run("sample", folder.At("model"), "--prompt", "a", "--output", folder.At("out")).FailsWith(1, "model.onnx");
    }
}
