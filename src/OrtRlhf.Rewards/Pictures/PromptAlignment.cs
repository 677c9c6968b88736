using OrtRlhf.Graph;
using OrtRlhf.Scenes;

namespace OrtRlhf.Rewards;

/// <summary>
/// Whether an image of a drawn scene shows what its caption says, by the rules of <see cref="SceneVerifier"/>. Fits the captions
/// of <see cref="SceneCaption"/> and images of <see cref="Scene.Side"/> x <see cref="Scene.Side"/> pixels.
/// </summary>
public static class PromptAlignment
{
    /// <summary><c>prompt-alignment</c>: partial credit in [0,1], <see cref="SceneScore.Partial"/>, which a model can climb.</summary>
    public static IReward Partial { get; } = new PerImageReward("prompt-alignment", input => Read(input).Partial, Fits);

    /// <summary>
    /// <c>prompt-accuracy</c>: 1 when everything is right, else 0, <see cref="SceneScore.Correct"/>; its mean is what a benchmark reports.
    /// </summary>
    public static IReward Accuracy { get; } = new PerImageReward("prompt-accuracy", input => Read(input).Correct ? 1 : 0, Fits);

    /// <summary>Whether a prompt is a caption of a drawn scene.</summary>
    internal static bool Fits(string prompt) => SceneCaption.Parse(prompt) is not null;

    /// <summary>The verdict on an image.</summary>
    /// <exception cref="UserError">The prompt is no caption, or the image of another size.</exception>
    internal static SceneScore Read(RewardInput input)
    {
        var spec = SceneCaption.Parse(input.Prompt)
            ?? throw new UserError($"prompt-alignment: sample {input.Index}: cannot read the prompt \"{input.Prompt}\". Captions look "
                + $"like {SceneCaption.Grammar}.");
        return SceneVerifier.Score(SceneRewards.Read(input, "prompt-alignment"), spec);
    }
}
