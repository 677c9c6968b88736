using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Models;

public class ImageModelTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Fact]
    public void Open_DiffusersFolder_GivesAllParts()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        Assert.Equal(("tiny", new LatentSize(4, 8, 8), 0.5, 0.1), (model.Name, model.Latent, model.ScalingFactor, model.ShiftFactor));
        Assert.Equal([52, 1, 7, 53, 53, 53, 53, 53, 53, 53, 53, 53], model.TextEncoders[0].Tokenize("a d"));
        using var text = new TextEmbeddings(model, OneThread);
        Assert.Equal((TinyModel.Tokens, TinyModel.Width), (text.Length, text.Width));
        using var decoder = new LatentDecoder(model, OneThread);
        var image = Assert.Single(decoder.Decode([new float[model.Latent.Count]]));
        Assert.Equal((16, 16), (image.Width, image.Height));
        Assert.All(model.Denoiser(2).Nodes.Where(n => n.Domain.Length == 0), n =>
            Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
    }

    [Fact]
    public void Open_HalfPrecisionWeights_AreWidened()
    {
        using var folder = new TempFolder();
        var exact = ImageModel.Open(TinyModel.Write(folder.At("float")));
        var half = ImageModel.Open(TinyModel.Write(folder.At("half"), ElementType.Float16));
        Assert.Equal(ElementType.Float, half.Denoiser("batch").Outputs[0].Type);
        Numbers.Close(Denoise(exact, 2), Denoise(half, 2), 1e-2);
    }

    [Theory]
    [InlineData(ElementType.Float, 1e-5)]
    [InlineData(ElementType.Float16, 2e-2)]
    public void Open_OptimumFolder_GivesTheSameNumbers(ElementType type, double tolerance)
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("model")));
        var optimum = ImageModel.Open(TinyModel.Export(TinyModel.Write(folder.At("optimum")), type));
        Assert.Equal((model.Latent, model.ScalingFactor), (optimum.Latent, optimum.ScalingFactor));
        Numbers.Close(Denoise(model, "batch"), Denoise(optimum, "batch"), tolerance);
        Numbers.Close(Denoise(model, 2), Denoise(optimum, 2), tolerance);
        using var text = new TextEmbeddings(model, OneThread);
        using var exportedText = new TextEmbeddings(optimum, OneThread);
        Numbers.Close(text["a red dot"], exportedText["a red dot"], tolerance);
        using var decoder = new LatentDecoder(model, OneThread);
        using var exportedDecoder = new LatentDecoder(optimum, OneThread);
        var latent = Enumerable.Range(0, model.Latent.Count).Select(i => MathF.Sin(i)).ToArray();
        byte[] a = [.. decoder.Decode([latent])[0].Pixels], b = [.. exportedDecoder.Decode([latent])[0].Pixels];
        Assert.True(a.Zip(b).Max(p => Math.Abs(p.First - p.Second)) <= (type == ElementType.Float ? 1 : 4));
    }

    [Fact]
    public void Open_NoFolder_Throws() => Fails(f => Directory.Delete(f, recursive: true), "no such folder");

    [Fact]
    public void Open_NoIndex_Throws() => Fails(f => File.Delete(Path.Combine(f, "model_index.json")), "no model_index.json");

    [Theory]
    [InlineData("unet")]
    [InlineData("vae")]
    [InlineData("text_encoder")]
    [InlineData("tokenizer")]
    [InlineData("scheduler")]
    public void Open_MissingComponent_ThrowsAndNamesIt(string name) =>
        Fails(f => Directory.Delete(Path.Combine(f, name), recursive: true), $"no folder '{name}'");

    [Fact]
    public void Open_NoWeights_Throws() =>
        Fails(f => File.Delete(Path.Combine(f, "unet/diffusion_pytorch_model.safetensors")), "unet: no weights in");

    [Fact]
    public void Open_TruncatedWeights_Throws() => Fails(f =>
    {
        using var file = File.OpenWrite(Path.Combine(f, "unet/diffusion_pytorch_model.safetensors"));
        file.SetLength(file.Length - 1);
    }, "truncated");

    [Theory]
    [InlineData("unet", "UNet2DConditionModel", "UNet3DConditionModel",
        "unet: UNet2DConditionModel and UNet2DModel are supported, got UNet3DConditionModel")]
    [InlineData("vae", "AutoencoderTiny", "VQModel", "got VQModel")]
    [InlineData("text_encoder", "CLIPTextModel", "T5EncoderModel", "got T5EncoderModel")]
    [InlineData("unet", "\"cross_attention_dim\":16", "\"cross_attention_dim\":24", "hidden_size 16")]
    [InlineData("unet", "\"sample_size\":8,", "", "sample_size")]
    [InlineData("unet", "{\"_class", "\"_class", "not valid JSON")]
    [InlineData("text_encoder", "\"max_position_embeddings\":12", "\"max_position_embeddings\":8", "model_max_length is 12")]
    [InlineData("vae", "\"scaling_factor\":0.5", "\"scaling_factor\":0", "scaling_factor")]
    [InlineData("vae", "\"scaling_factor\"", "\"latent_channels\":8,\"scaling_factor\"", "8 latent channels")]
    public void Open_ComponentThatDoesNotFit_Throws(string name, string from, string to, string message) => Fails(f =>
    {
        var path = Path.Combine(f, name, "config.json");
        var text = File.ReadAllText(path);
        Assert.Contains(from, text);
        File.WriteAllText(path, text.Replace(from, to));
    }, message);

    [Theory]
    [InlineData("model_index.json")]
    [InlineData("scheduler/scheduler_config.json")]
    [InlineData("tokenizer/vocab.json")]
    [InlineData("tokenizer/tokenizer_config.json")]
    [InlineData("text_encoder/config.json")]
    [InlineData("unet/config.json")]
    [InlineData("vae/config.json")]
    [InlineData("unet/diffusion_pytorch_model.safetensors")]
    public void Open_DamagedFile_OpensOrThrowsOneLine(string file)
    {
        using var folder = new TempFolder();
        var path = Path.Combine(TinyModel.Write(folder.At("tiny")), file);
        var (whole, random) = (File.ReadAllBytes(path), new Random(5));
        for (var round = 0; round < 100; round++)
        {
            var bytes = whole.ToArray();
            for (var i = 0; i <= round % 4; i++) bytes[random.Next(Math.Min(bytes.Length, 4096))] =
                (byte)"\"{}[],:-019eEn\\\0\u00ff"[random.Next(17)];
            File.WriteAllBytes(path, round % 10 == 9 ? bytes[..random.Next(bytes.Length)] : bytes);
            try
            {
                ImageModel.Open(folder.At("tiny"));
            }
            catch (UserError error)
            {
                Assert.DoesNotContain('\n', error.Message);
            }
        }
    }

    [Fact]
    public void Denoiser_LoadedThroughAFile_GivesTheSameNumbers()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("tiny")));
        Numbers.Close(Denoise(model, 2), Denoise(model, 2, lowMemory: true), 1e-5);
    }

    private static void Fails(Action<string> damage, string message)
    {
        using var folder = new TempFolder();
        damage(TinyModel.Write(folder.At("tiny")));
        var error = Assert.Throws<UserError>(() => ImageModel.Open(folder.At("tiny")));
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    private static float[] Denoise(ImageModel model, Dim batch, bool lowMemory = false)
    {
        using var session = new GraphSession(model.Denoiser(batch), OneThread with { LowMemory = lowMemory });
        var sample = Enumerable.Range(0, 2 * model.Latent.Count).Select(i => MathF.Sin(i)).ToArray();
        var states = Enumerable.Range(0, 2 * TinyModel.Tokens * TinyModel.Width).Select(i => MathF.Cos(i)).ToArray();
        using var x = sample.ToOrt(2, 4, 8, 8);
        using var t = new long[] { 999, 20 }.ToOrt(2);
        using var c = states.ToOrt(2, TinyModel.Tokens, TinyModel.Width);
        return session.Run(("sample", x), ("timestep", t), ("encoder_hidden_states", c))["out_sample"];
    }
}
