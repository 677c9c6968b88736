using OrtRlhf.Diffusion.Images;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Rewards.Tests;

public sealed class ClipRewardTests
{
    [Fact]
    public void Score_IsTheCosineOfBothTowers_InAnyBatch()
    {
        using var folder = new TempFolder();
        var model = TinyModel.WriteClip(folder.At("my clip"));
        RewardInput[] inputs = [.. Enumerable.Range(0, 19).Select(i =>
            new RewardInput(NoiseImage.Pattern(12 + i, 16), i % 2 == 0 ? "a cat" : "two hats", i))];
        var expected = Logits(model, inputs, out var scale); // e^logit_scale cos
        var score = RewardRegistry.Default.Parse($"clip-score:'{model}'");
        var preference = RewardRegistry.Default.Parse($"pick-score:\"{model}\"");
        Assert.Equal(expected.Select(x => 100 * x / scale), score.Score(inputs).Select(x => (double)x), (x, y) => Math.Abs(x - y) < 1e-3);
        Assert.Equal(expected, preference.Score(inputs).Select(x => (double)x), (x, y) => Math.Abs(x - y) < 1e-4);
        Assert.Equal(score.Score(inputs)[3], score.Score([inputs[3]])[0], 1e-3f);
        Assert.Equal($"clip-score:\"{model}\"", score.Name);
        Assert.True(score.Score(inputs).Distinct().Count() > 10);
    }

    [Fact]
    public void Parse_Faults_AreOneLineThatNamesThem()
    {
        using var folder = new TempFolder();
        var model = TinyModel.WriteClip(folder.At("clip"));
        Assert.Contains("no folder", Fails($"clip-score:{folder.At("none")}"));
        Assert.Contains("#batch=9", Fails($"clip-score:{model}#batch=9"));
        Assert.Contains("device 'abacus'", Fails($"clip-score:{model}#device=abacus"));
        File.Delete(Path.Combine(model, "vocab.json"));
        Assert.Contains("vocab.json", Assert.Throws<UserError>(() =>
            RewardRegistry.Default.Parse($"clip-score:{model}").Score(RewardRegistryTests.Inputs(1))).Message);
        File.WriteAllText(Path.Combine(TinyModel.WriteClip(folder.At("crop")), "preprocessor_config.json"), """{"crop_size":32}""");
        Assert.Contains("image_size 16", Fails($"clip-score:{folder.At("crop")}"));
        Assert.Contains("CLIPModel is supported, got CLIPTextModel",
            Fails($"clip-score:{Path.Combine(TinyModel.Write(folder.At("model")), "text_encoder")}"));
    }

    private static string Fails(string expression)
    {
        var error = Assert.Throws<UserError>(() => RewardRegistry.Default.Parse(expression));
        Assert.DoesNotContain('\n', error.Message);
        return error.Message;
    }

    // The whole model with both towers in one graph, an image and its prompt at a time.
    private static double[] Logits(string folder, RewardInput[] inputs, out double scale)
    {
        var component = ComponentFolder.Open(folder, "clip");
        scale = Math.Exp(component.Tensors().Tensors["logit_scale"].ToFloats()[0]);
        using var session = new GraphSession(ClipModel.Build(ClipConfig.Parse(component.Config), component.Weights()),
            new SessionSettings { Threads = 1 });
        var (tokenizer, preprocessor) = (ClipTokenizer.Open(folder), new ImagePreprocessor(ImageProcessorConfig.Find(folder)!));
        return [.. inputs.Select(input =>
        {
            var pixels = new float[3 * 16 * 16];
            preprocessor.Process(input.Image, pixels);
            var ids = tokenizer.Encode(input.Prompt);
            return (double)session.Run(("input_ids", ids.ToOrt(1, ids.Length)),
                ("pixel_values", pixels.ToOrt(1, 3, 16, 16)))["logits_per_image"][0];
        })];
    }
}
