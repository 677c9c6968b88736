using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Models;

/// <summary>
/// Pipelines with two text encoders, whose denoiser takes text_embeds and time_ids. The denoiser itself is held to diffusers' numbers in
/// OrtRlhf.Models.Tests.
/// </summary>
public class StableDiffusionXlTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Fact]
    public void TextEmbeddings_ArePenultimateStatesSideBySide_AndTheProjectedText()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteXl(folder.At("xl")));
        Assert.Equal((true, true, new Pixels(16, 12)), (model.IsConditional, model.TakesSizes, model.ImageSize));
        using var text = new TextEmbeddings(model, OneThread);
        Assert.Equal(["encoder_hidden_states", "text_embeds", "time_ids"], text.Fields.Select(f => f.Input));
        Assert.Equal((TinyModel.Tokens, 40), (text.Length, text.Width));
        var fields = text.Of("a dog");
        var (first, second) = (Run("text_encoder", false, 0), Run("text_encoder_2", true, 1));
        var (a, b) = (first["hidden_states.2"], second["hidden_states.2"]);
        var joined = Enumerable.Range(0, TinyModel.Tokens).SelectMany(s => a[(s * 16)..((s + 1) * 16)].Concat(b[(s * 24)..((s + 1) * 24)]))
            .ToArray();
        Numbers.Close(joined, fields[0], 1e-5);
        Numbers.Close(second["text_embeds"], fields[1], 1e-5);
        Assert.Equal([16f, 12, 0, 0, 16, 12], fields[2]);

        using var skipped = new TextEmbeddings(ImageModel.Open(folder.At("xl"), new() { ClipSkip = 1 }), OneThread);
        Numbers.Close(first["hidden_states.1"].AsSpan(0, 16), skipped["a dog"].AsSpan(0, 16), 1e-5);
        Assert.Contains("text_encoder has 3 layers, expected at most 1, got 2",
            Assert.Throws<UserError>(() => ImageModel.Open(folder.At("xl"), new() { ClipSkip = 2 })).Message);

        Dictionary<string, float[]> Run(string name, bool projection, int tokenizer)
        {
            var component = ComponentFolder.Open(folder.At("xl", name), name);
            using var session = new GraphSession(ClipTextModel.Build(ClipTextConfig.Parse(component.Config), component.Weights(),
                projection, hiddenStates: true), OneThread);
            using var ids = model.TextEncoders[tokenizer].Tokenize("a dog").ToOrt(1, TinyModel.Tokens);
            return session.Run(("input_ids", ids));
        }
    }

    [Theory]
    [InlineData("\"force_zeros_for_empty_prompt\":true", true)]
    [InlineData("\"force_zeros_for_empty_prompt\":false", false)]
    [InlineData("\"add_watermarker\":null", true)]
    public void Without_IsZeros_WhereThePipelineSaysSo(string flag, bool zeros)
    {
        using var folder = new TempFolder();
        using var text = new TextEmbeddings(ImageModel.Open(TinyModel.WriteXl(folder.At("xl"), flag)), OneThread);
        Assert.Equal((zeros, zeros), (text.Without[0].All(v => v == 0), text.Without[1].All(v => v == 0)));
        Assert.Equal(text.Of("a")[2], text.Without[2]);
        Assert.Contains(text[""], v => v != 0);
    }

    [Fact]
    public void Sizes_ChangeTheImage_DefaultsAreTheImages()
    {
        using var folder = new TempFolder();
        using var policy = Policy.OfBase(ImageModel.Open(TinyModel.WriteXl(folder.At("xl"))));
        var (plain, said) = (Draw(new()), Draw(new() { OriginalSize = new(16, 12), TargetSize = new(16, 12) }));
        Assert.Equal(plain, said);
        Assert.NotEqual(plain, Draw(new() { Crop = new(8, 0) }));
        Assert.NotEqual(plain, Draw(new() { OriginalSize = new(4, 4) }));
        Assert.Equal((new Pixels(768, 1024), new Pixels(5, 5), null), (Pixels.Parse("768x1024"), Pixels.Parse("5"), Pixels.Parse("5x")));

        float[] Draw(MicroConditioning sizes)
        {
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 2, Sizes = sizes }, OneThread);
            return pipeline.Sample([new SampleRequest("a cat", 1, 0, 0)])[0].Trajectory.Latents;
        }
    }

    [Fact]
    public void Tune_RunsEndToEnd_RatioOneOnFreshSamples_AdapterIsSampled()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with
        {
            Model = TinyModel.WriteXl(folder.At("xl")),
            Epochs = 2,
            Sampling = new() { Steps = 3, GuidanceScale = 2, BatchSize = 8, Sizes = new() { Crop = new(2, 1) } },
        };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, 1e-4);
        Assert.True(summary.Kl > 0);
        Assert.Equal(options.Sampling with { ClipSample = false, Sampler = SamplerKind.Ddim },
            TuningMethods.ReadOptions(new RunFolder(options.Output).Options).Sampling);
        var model = ImageModel.Open(options.Model);
        using var policy = Policy.WithAdapter(model,
            AdapterFile.Open(Path.Combine(new RunFolder(options.Output).Adapter, "adapter.safetensors")));
        using var pipeline = new Pipeline(policy, options.Sampling, OneThread);
        var tuned = pipeline.Sample([new SampleRequest("a cat", 1, 0, 0)])[0].Trajectory.Latents;
        var bare = Array.Empty<float>();
        policy.AsBase(() => bare = pipeline.Sample([new SampleRequest("a cat", 1, 0, 0)])[0].Trajectory.Latents);
        Assert.NotEqual(bare, tuned);
    }

    [Fact]
    public void Export_InOptimumsLayout_DrawsTheSame()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteXl(folder.At("xl")));
        var exported = ImageModel.Open(TinyModel.Export(TinyModel.WriteXl(folder.At("onnx"))));
        Assert.Equal((true, true, model.ImageSize), (exported.TakesSizes, exported.ZerosWithoutPrompt, exported.ImageSize));
        Numbers.Close(Draw(model), Draw(exported), 1e-4);

        using var text = new TextEmbeddings(model, OneThread);
        using var same = new TextEmbeddings(exported, OneThread);
        foreach (var (a, b) in text.Of("a dog").Zip(same.Of("a dog"))) Numbers.Close(a, b, 1e-5);
        Assert.All(exported.Denoiser(2).Nodes, n => Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));

        static float[] Draw(ImageModel model)
        {
            using var policy = Policy.OfBase(model);
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 2 }, OneThread);
            return pipeline.Sample([new SampleRequest("a cat", 1, 0, 0)])[0].Trajectory.Latents;
        }
    }

    [Theory]
    [InlineData("unet", "\"cross_attention_dim\":40", "\"cross_attention_dim\":32",
        "text_encoder and text_encoder_2 together have hidden_size 40")]
    [InlineData("unet", "\"projection_class_embeddings_input_dim\":32", "\"projection_class_embeddings_input_dim\":36",
        "text_embeds of width 12, but text_encoder_2 has projection_dim 8")]
    [InlineData("unet", "\"addition_embed_type\":\"text_time\",", "", "takes no text_embeds")]
    [InlineData("text_encoder_2", "CLIPTextModelWithProjection", "CLIPTextModel",
        "text_encoder_2: CLIPTextModelWithProjection is supported, got CLIPTextModel")]
    public void Open_PartsThatDoNotFit_Throws(string name, string from, string to, string message)
    {
        using var folder = new TempFolder();
        var path = Path.Combine(TinyModel.WriteXl(folder.At("xl")), name, "config.json");
        var text = File.ReadAllText(path);
        Assert.Contains(from, text);
        File.WriteAllText(path, text.Replace(from, to));
        Assert.Contains(message, Assert.Throws<UserError>(() => ImageModel.Open(folder.At("xl"))).Message);
    }

    [Fact]
    public void Open_Refiner_Throws()
    {
        using var folder = new TempFolder();
        Directory.Delete(Path.Combine(TinyModel.WriteXl(folder.At("xl")), "text_encoder"), recursive: true);
        Assert.Contains("give the base model", Assert.Throws<UserError>(() => ImageModel.Open(folder.At("xl"))).Message);
    }
}
