using System.Text.Json;
using OrtRlhf.Diffusion.Sampling;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Options whose value is one of a few names, written in kebab case: <c>two-objects</c>.</summary>
internal static class EnumName
{
    /// <summary>The value of a name; hyphens and case do not matter.</summary>
    /// <param name="option">The option, for the error.</param>
    /// <param name="name">The name given, or null.</param>
    /// <exception cref="UsageError">There is none of that name; lists them.</exception>
    public static T? Of<T>(string option, string? name) where T : struct, Enum => name is null ? null : (T)Of(typeof(T), option, name);

    /// <inheritdoc cref="Of{T}"/>
    public static object Of(Type type, string option, string name)
    {
        var names = All(type).ToDictionary(Write);
        var wanted = names.Keys.FirstOrDefault(known =>
            known.Replace("-", "").Equals(name.Replace("-", ""), StringComparison.OrdinalIgnoreCase));
        return wanted is null
            ? throw new UsageError($"--{option}: expected {string.Join(", ", names.Keys.SkipLast(1))} or {names.Keys.Last()}, got '{name}'")
            : names[wanted];
    }

    /// <summary>All values that can be named.</summary>
    public static IEnumerable<Enum> All(Type type) => Enum.GetValues(type).Cast<Enum>().Where(value => value is not SamplerKind.Auto);

    /// <summary>The name of a value; of samplers as diffusers' projects write it.</summary>
    public static string Write(Enum value) =>
        value is SamplerKind.DpmSolver ? "dpm-solver++" : JsonNamingPolicy.KebabCaseLower.ConvertName($"{value}");
}
