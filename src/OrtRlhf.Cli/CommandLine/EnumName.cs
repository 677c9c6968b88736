using System.Text.Json;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Options whose value is one of a few names, written in kebab case: <c>two-objects</c>.</summary>
internal static class EnumName
{
    /// <summary>The value of a name; hyphens and case do not matter.</summary>
    /// <param name="option">The option, for the error.</param>
    /// <param name="name">The name given, or null.</param>
    /// <exception cref="UsageError">There is none of that name; lists them.</exception>
    public static T? Of<T>(string option, string? name) where T : struct, Enum
    {
        if (name is null) return null;
        var names = Enum.GetValues<T>().ToDictionary(Write);
        var wanted = names.Keys.FirstOrDefault(known => known.Replace("-", "").Equals(name.Replace("-", ""), StringComparison.OrdinalIgnoreCase));
        return wanted is null ? throw new UsageError($"--{option}: expected {string.Join(", ", names.Keys.SkipLast(1))} or {names.Keys.Last()}, got '{name}'") : names[wanted];
    }

    /// <summary>The name of a value.</summary>
    public static string Write<T>(T value) where T : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());
}
