using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Scenes;

namespace OrtRlhf.Rewards.Tests;

public sealed class PromptAlignmentTests
{
    [Fact]
    public void Score_DrawnScenes_PreferTheirOwnCaptions()
    {
        var scenes = Enumerable.Range(0, 40).Select(i => SceneSampler.Sample(5, (ulong)i)).ToArray();
        var images = scenes.Select(sample => new RgbImage(Scene.Side, Scene.Side, SceneDrawing.Draw(sample.Scene))).ToArray();
        var own = images.Select((image, i) => new RewardInput(image, scenes[i].Caption, i)).ToArray();
        var others = images.Select((image, i) => new RewardInput(image, scenes[(i + 1) % 40].Caption, i)).ToArray();
        Assert.InRange(PromptAlignment.Accuracy.Score(own).Average(), 0.9, 1);
        Assert.InRange(PromptAlignment.Accuracy.Score(others).Average(), 0, 0.1);
        // The same images again, now with the others' captions: a remembered verdict must not be reused.
        Assert.InRange(PromptAlignment.Partial.Score(own).Average(), 0.8, 1);
        Assert.InRange(PromptAlignment.Partial.Score(others).Average(), 0, 0.6);
    }

    [Fact]
    public void Fits_OnlyCaptionsOfScenes()
    {
        Assert.True(PromptAlignment.Partial.Fits("a small red circle"));
        Assert.False(PromptAlignment.Partial.Fits("a photo of an astronaut"));
        Assert.Equal(["drawing-quality", "prompt-accuracy", "prompt-alignment"],
            RewardRegistry.Default.Parse("jpeg-compressibility", ["a small red circle"]).Watched.Select(reward => reward.Name));
        Assert.Empty(RewardRegistry.Default.Parse("jpeg-compressibility", ["a photo of an astronaut"]).Watched);
    }

    [Fact]
    public void Score_WrongPromptOrSize_ThrowsForUser()
    {
        Assert.Contains("cannot read the prompt",
            Assert.Throws<UserError>(() => PromptAlignment.Partial.Score([new(new RgbImage(64, 64), "an astronaut", 3)])).Message);
        Assert.Contains("sample 3: expected an image of 64x64, got 32x64",
            Assert.Throws<UserError>(() => PromptAlignment.Partial.Score([new(new RgbImage(32, 64), "a red circle", 3)])).Message);
    }
}
