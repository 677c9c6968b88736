using OrtRlhf.Graph;

namespace OrtRlhf.Preferences;

/// <summary>An image that people, or a reward in their place, may choose.</summary>
/// <param name="Id">Its name in a store: 1 to 64 letters, digits, hyphens and underscores.</param>
/// <param name="Prompt">The prompt it shows; empty for models without prompts.</param>
/// <param name="Image">Image file, relative to the store's folder, with forward slashes: <c>images/4f2a.png</c>.</param>
/// <param name="Seed">The seed it was sampled with; null when unknown.</param>
/// <param name="Trajectory">The path from noise to image, safetensors, relative to the store's folder; null for an image alone.</param>
/// <param name="Source">What drew it, such as the model and adapter; null when unknown. <see cref="CheckSource"/> marks a spoiled
/// picture.</param>
public sealed record Candidate(string Id, string Prompt, string Image, long? Seed = null, string? Trajectory = null, string? Source = null)
{
    /// <summary>The <see cref="Source"/> of pictures spoiled on purpose, for attention checks; nothing is learned from them.</summary>
    public const string CheckSource = "attention-check";

    /// <summary>Longest prompt, comment and name of a rater or source, in characters.</summary>
    public const int LongestPrompt = 10_000, LongestComment = 2_000, LongestName = 200;

    /// <summary>Whether the picture was spoiled for an attention check.</summary>
    public bool IsCheck => Source == CheckSource;

    /// <summary>A fresh id; ids made later sort later.</summary>
    public static string NewId() => Guid.CreateVersion7().ToString("N");

    /// <summary>Whether a text may be the id of a candidate or a choice.</summary>
    public static bool IsId(string? id) => id is { Length: >= 1 and <= 64 } && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');

    /// <summary>Refuses a candidate that no store takes.</summary>
    /// <exception cref="UserError">A part is missing, too long, or a file outside the store's folder.</exception>
    public void Validate()
    {
        if (!IsId(Id)) throw new UserError($"candidate '{Id}': expected an id of 1 to 64 letters, digits, hyphens and underscores");
        if (Prompt is null || Prompt.Length > LongestPrompt) throw new UserError(
            $"candidate '{Id}': expected a prompt of at most {LongestPrompt} characters, got {Prompt?.Length.ToString() ?? "none"}");
        if (Source?.Length > LongestName) throw new UserError(
            $"candidate '{Id}': expected a source of at most {LongestName} characters, got {Source.Length}");
        if (!PreferenceFolder.IsInside(Image)) throw new UserError(
            $"candidate '{Id}': image '{Image}': expected a relative path inside the store's folder, such as images/a.png");
        if (Trajectory is not null && !PreferenceFolder.IsInside(Trajectory)) throw new UserError(
            $"candidate '{Id}': trajectory '{Trajectory}': expected a relative path inside the store's folder");
        if (Text.HasFault(Prompt) || Text.HasFault(Source)
            || Text.HasFault(Image)) throw new UserError($"candidate '{Id}': a text with a zero character or half a surrogate pair");
    }
}
