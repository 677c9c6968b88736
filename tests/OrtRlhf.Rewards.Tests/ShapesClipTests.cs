using OrtRlhf.Diffusion.Images;
using OrtRlhf.Scenes;

namespace OrtRlhf.Rewards.Tests;

public sealed class ShapesClipTests
{
    [Fact]
    public void Shipped_PrefersTheRightPicture_OnCaptionsThatItNeverSaw()
    {
        var specs = Enum.GetValues<SceneKind>().SelectMany(kind => ScenePrompts.HeldOut(kind).Take(24)).Select(caption =>
            SceneCaption.Parse(caption)!).ToArray();
        RewardInput[] right = [.. specs.Select((spec, i) => new RewardInput(Draw(spec, (ulong)i), SceneCaption.Write(spec), i))];
        RewardInput[] wrong = [.. right.Select((input, i) => input with { Image = right[(i + 41) % right.Length].Image })];
        var reward = RewardRegistry.Default.Parse("clip-score");
        var (high, low) = (reward.Score(right), reward.Score(wrong));
        var auc = high.SelectMany(_ => low, (a, b) => a > b ? 1.0 : a == b ? 0.5 : 0).Average();
        Assert.True(auc > 0.9, $"AUC {auc:F3}");
    }

    private static RgbImage Draw(SceneSpec spec, ulong index) =>
        new(Scene.Side, Scene.Side, SceneDrawing.Draw(SceneSampler.Compose(spec, 99, index)));
}
