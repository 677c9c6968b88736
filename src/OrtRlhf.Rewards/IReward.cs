using OrtRlhf.Diffusion.Images;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>One image to score.</summary>
/// <param name="Image">The image.</param>
/// <param name="Prompt">The prompt it was made from.</param>
/// <param name="Index">The sample's number in its epoch or evaluation, from 0; errors name it.</param>
/// <param name="Metadata">What the prompt's source says beside the text, by name; null when nothing.</param>
public sealed record RewardInput(RgbImage Image, string Prompt, int Index = 0, IReadOnlyDictionary<string, string>? Metadata = null);

/// <summary>Scores images; higher is better. Implementations may be called from many threads at once.</summary>
public interface IReward : IDisposable
{
    /// <summary>
    /// The name in reward expressions, metrics and reports: lower case, digits and hyphens; with an argument as <see cref="RewardName"/>
    /// writes it.
    /// </summary>
    string Name { get; }

    /// <summary>Whether the reward means anything for images of this prompt. A run watches only rewards that fit all its prompts.</summary>
    /// <param name="prompt">A prompt.</param>
    bool Fits(string prompt) => true;

    /// <summary>One score for each input, in order. The same inputs give the same scores.</summary>
    /// <param name="inputs">The images, any number of them.</param>
    /// <param name="cancellation">Stops between images.</param>
    /// <exception cref="UserError">An input that this reward cannot score.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    float[] Score(IReadOnlyList<RewardInput> inputs, CancellationToken cancellation = default);

    /// <summary>Lets go of sessions and connections, where it has any.</summary>
    void IDisposable.Dispose() { }
}
