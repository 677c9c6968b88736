using System.Text.RegularExpressions;

namespace OrtRlhf.Rewards;

/// <summary>A reward as expressions call it: a name, and for some an argument behind a colon, <c>onnx:models/scorer.onnx</c>.</summary>
/// <param name="Name">The name: lower case, digits and hyphens.</param>
/// <param name="Argument">The argument without quotes; null without one.</param>
public readonly partial record struct RewardName(string Name, string? Argument = null)
{
    /// <summary>The shortest text that an expression reads as this: the argument is quoted only where it must be.</summary>
    public override string ToString()
    {
        if (Argument is null) return Name;
        if (Plain().IsMatch(Argument)) return $"{Name}:{Argument}";
        return Argument.Contains('"') ? $"{Name}:'{Argument}'" : $"{Name}:\"{Argument}\"";
    }

    // What an argument without quotes is made of: all but blanks, quotes, and the signs that part terms.
    [GeneratedRegex(@"\G[^\s'""+*]+", RegexOptions.CultureInvariant)]
    internal static partial Regex Unquoted();

    [GeneratedRegex(@"^[^\s'""+*]+$", RegexOptions.CultureInvariant)]
    private static partial Regex Plain();
}
