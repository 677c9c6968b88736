using OrtRlhf.Tuning.Images;
using OrtRlhf.Tuning.Tests;

namespace OrtRlhf.Cli.Tests;

public class ImportTests(TinyModelFixture model) : IClassFixture<TinyModelFixture>
{
    [Fact]
    public void WritesOnnxModels_ThatDrawTheSame()
    {
        using var folder = new TempFolder();
        var output = Cli.Run("import", model.Path, "--output", folder.At("onnx")).Succeeds().Out;
        foreach (var part in (string[])["text_encoder", "unet", "vae_decoder"]) Assert.Contains(folder.At("onnx", part, "model.onnx"), output);
        foreach (var source in (string[])[model.Path, folder.At("onnx")])
            Cli.Run("sample", source, "--prompt", "a", "--steps", "2", "--threads", "1", "--output", folder.At(Path.GetFileName(source) + "-images")).Succeeds();
        byte[] a = Pixels("tiny-images"), b = Pixels("onnx-images");
        Assert.True(a.Zip(b).Max(pair => Math.Abs(pair.First - pair.Second)) <= 1);

        byte[] Pixels(string images) => [.. ImageCodec.Read(folder.At(images, "0001-a-0.png")).Pixels];
    }

    [Fact]
    public void BadInputs_AreOneLine()
    {
        Cli.Run("import", model.Path).FailsWith(2, "option --output is missing, expected DIR");
        Cli.Run("import", model.Path, "--output", model.Path).FailsWith(1, "is the model's own folder");
    }
}
