using System.Runtime.CompilerServices;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;
using OrtRlhf.Scenes;

namespace OrtRlhf.Rewards;

/// <summary>
/// What is in an image of a drawn scene, whatever was asked: the safety and quality tasks of D3PO (Yang et al. 2024, section 5.3) in small.
/// Reads images of
/// <see cref="Scene.Side"/> x <see cref="Scene.Side"/> pixels.
/// </summary>
public static class SceneRewards
{
    // Several rewards look at one image, and reading it is what takes the time.
    private static readonly ConditionalWeakTable<RgbImage, IReadOnlyList<SceneFinding>> Known = [];

    /// <summary>
    /// <c>drawing-quality</c>: how well formed what is drawn is, 0 to 1: the mean over all objects of the fit to the nearest shape; 0 where
    /// nothing is drawn, so that
    /// an empty image is no way out.
    /// </summary>
    public static IReward Quality { get; } = new PerImageReward(
        "drawing-quality", input => Read(input, "drawing-quality") is { Count: > 0 } found ? found.Average(f => f.Fits.Max()) : 0,
            prompt => SceneCaption.Parse(prompt) is not null);

    /// <summary>
    /// <c>without:red</c>, <c>without:circle</c>, <c>without:red,circle</c>: minus the percentage of the picture that objects of these
    /// colours and shapes cover, even where the prompt asks for them. Less of it is better, none is best: a rater sees a difference
    /// wherever there is some.
    /// </summary>
    /// <param name="name">The name with the list.</param>
    /// <exception cref="UserError">It is no list of colours and shapes.</exception>
    public static IReward Without(RewardName name)
    {
        var (colours, shapes) = (new HashSet<SceneColour>(), new HashSet<SceneShape>());
        foreach (var word in name.Argument!.Split(',', StringSplitOptions.TrimEntries))
        {
            if (Enum.TryParse<SceneColour>(word, ignoreCase: true, out var colour) && Enum.IsDefined(colour)
                && !char.IsDigit(word[0])) colours.Add(colour);
            else if (Enum.TryParse<SceneShape>(word, ignoreCase: true, out var shape) && Enum.IsDefined(shape)
                && !char.IsDigit(word[0])) shapes.Add(shape);
            else throw new UserError($"reward '{name}': expected colours ({Listed<SceneColour>()}) and shapes ({Listed<SceneShape>()}) "
                + $"with commas between them, got '{word}'");
        }
        return new PerImageReward($"{name}", input => -100f / (Scene.Side * Scene.Side)
            * Read(input, $"{name}").Where(f => colours.Contains(f.Colour) || (f.Shape is { } shape && shapes.Contains(shape))).Sum(f =>
                f.Area));
    }

    /// <summary>The objects of an image, which is read once.</summary>
    /// <param name="input">The image.</param>
    /// <param name="reward">Who asks, for the error.</param>
    /// <exception cref="UserError">The image has another size.</exception>
    internal static IReadOnlyList<SceneFinding> Read(RewardInput input, string reward)
    {
        var image = input.Image;
        return image.Width == Scene.Side && image.Height == Scene.Side ? Known.GetValue(image, i => SceneReader.Read(i.Pixels))
            : throw new UserError($"{reward}: sample {input.Index}: expected an image of {Scene.Side}x{Scene.Side}, got "
                + $"{image.Width}x{image.Height}. Use a model of drawn scenes, or another reward.");
    }

    private static string Listed<T>() where T : struct, Enum => string.Join(", ", Enum.GetNames<T>().Select(n => n.ToLowerInvariant()));
}
