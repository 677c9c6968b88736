using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Scenes;

namespace OrtRlhf.Rewards.Tests;

/// <summary>A red and a blue square on grey.</summary>
public sealed class SceneRewardsTests
{
    private static readonly RewardInput Squares = new(Draw((8, 8, 16, 16, 220, 30, 30), (36, 36, 18, 18, 40, 40, 220)), "a red square");

    [Theory]
    [InlineData("red", -6.25f)]
    [InlineData("blue", -7.91015625f)]
    [InlineData("yellow", 0)]
    [InlineData("square", -14.16015625f)]
    [InlineData("red, square", -14.16015625f)]
    [InlineData("circle,yellow", 0)]
    public void Without_MeasuresWhatIsForbidden(string list, float score) =>
        Assert.Equal(score, RewardRegistry.Default.Parse($"without:\"{list}\"").Score([Squares])[0], 0.1f);

    [Theory]
    [InlineData("purple-ish")]
    [InlineData("0")]
    public void Without_UnknownWord_SaysWhatIsKnown(string word)
    {
        var error = Assert.Throws<UserError>(() => RewardRegistry.Default.Parse($"without:{word}"));
        Assert.Contains("expected colours (red, yellow, ", error.Message);
        Assert.Contains("circle", error.Message);
    }

    [Fact]
    public void Quality_FallsWithTheShape_EmptyIsNoWayOut()
    {
        var scores = SceneRewards.Quality.Score([Squares, new(Draw((8, 8, 40, 12, 220, 30, 30)), "a red square"),
            new(Draw(), "a red square")]);
        Assert.InRange(scores[0], 0.9f, 1);
        Assert.InRange(scores[1], 0.1f, scores[0] - 0.1f);
        Assert.Equal(0, scores[2]);
        Assert.Contains("expected an image of 64x64",
            Assert.Throws<UserError>(() => SceneRewards.Quality.Score([new(new RgbImage(8, 8), "a red square")])).Message);
    }

    private static RgbImage Draw(params (int X, int Y, int Width, int Height, byte R, byte G, byte B)[] boxes)
    {
        var image = new RgbImage(Scene.Side, Scene.Side);
        image.MutablePixels.Fill(128);
        foreach (var (left, top, width, height, r, g, b) in boxes)
            for (var y = top; y < top + height; y++)
                for (var x = left; x < left + width; x++) image[x, y] = (r, g, b);
        return image;
    }
}
