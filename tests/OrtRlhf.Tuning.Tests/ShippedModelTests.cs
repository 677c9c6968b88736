using OrtRlhf.Diffusion;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Scenes;

namespace OrtRlhf.Tuning.Tests;

public class ShippedModelTests
{
    // What a model without a trained part, or read wrongly, is far below of.
    [Theory]
    [InlineData("models/shapes")]
    [InlineData("models/shapes-flow")]
    public void DrawsWhatIsAskedFor(string name)
    {
        var folder = ShippedModel.Find(name, "model_index.json")!;
        using var policy = Policy.Create(ImageModel.Open(folder), new LoraOptions(), seed: 0);
        using var pipeline = new Pipeline(policy, new SamplingOptions { BatchSize = 32 }, new SessionSettings { Threads = 1 });
        var prompts = ScenePrompts.HeldOut(SceneKind.SingleObject).ToArray();
        var images = pipeline.Sample([.. Enumerable.Range(0, 64).Select(i =>
            new SampleRequest(prompts[i % prompts.Length], 1, 0, (uint)i))]);
        var right = images.Count(i => SceneVerifier.Score(i.Image.Pixels, SceneCaption.Parse(i.Prompt)!).Correct);
        Assert.InRange(right, 42, 64);
    }

    [Fact]
    public void AllTogether_AreSmallEnoughForARepository()
    {
        var models = Path.GetDirectoryName(ShippedModel.Find("models/shapes", "model_index.json"))!;
        Assert.InRange(new DirectoryInfo(models).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length), 1, 25_000_000);
    }
}
