using System.ComponentModel;
using System.Globalization;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Values of options as text.</summary>
internal static class OptionText
{
    /// <summary>Reads a value.</summary>
    /// <param name="option">The option.</param>
    /// <param name="texts">What was given; several of an option that repeats.</param>
    /// <exception cref="UsageError">It is none.</exception>
    public static object Parse(CommandOption option, IReadOnlyList<string> texts)
    {
        var type = Nullable.GetUnderlyingType(option.Type) ?? option.Type;
        if (ItemOf(type) is { } item)
        {
            var values = (option.Repeats ? texts : texts[0].Split(',')).Select(text => One(option, item, text)).ToArray();
            var list = Array.CreateInstance(item, values.Length);
            for (var i = 0; i < values.Length; i++) list.SetValue(values[i], i);
            return list;
        }
        return type == typeof(IReadOnlyDictionary<string, double>) ? Factors(option, texts[0]) : One(option, type, texts[0]);
    }

    /// <summary>Writes a value as it would be given; null for one that has no text.</summary>
    public static string? Write(object? value) => value switch
    {
        null or "" => null,
        string text => text,
        Enum choice => EnumName.Write(choice),
        System.Collections.IEnumerable list => string.Join(",", list.Cast<object>().Select(Write)),
        bool => null,
        _ => string.Create(CultureInfo.InvariantCulture, $"{value}"),
    };

    /// <summary>What stands for a value of a type in help.</summary>
    public static string MetaValue(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        return type == typeof(bool) ? "" : type == typeof(string) || type.IsEnum ? "NAME" : type == typeof(double) ? "X"
            : ItemOf(type) is not null ? "A,B" : type == typeof(IReadOnlyDictionary<string, double>) ? "A=X,B=Y" : "N";
    }

    private static Type? ItemOf(Type type) =>
        type.IsGenericType && type.GetGenericArguments() is [var item] && type.IsAssignableFrom(item.MakeArrayType()) ? item : null;

    private static object One(CommandOption option, Type type, string text)
    {
        if (type == typeof(string)) return text;
        if (type.IsEnum) return EnumName.Of(type, option.Name, text);
        try
        {
            return TypeDescriptor.GetConverter(type).ConvertFromInvariantString(text)!;
        }
        catch (Exception fault) when (fault is FormatException or ArgumentException or NotSupportedException or OverflowException)
        {
            throw new UsageError($"option --{option.Name} cannot be '{text}', expected {option.MetaValue}: {option.Help.TrimEnd('.')}");
        }
    }

    private static Dictionary<string, double> Factors(CommandOption option, string given)
    {
        var factors = new Dictionary<string, double>(StringComparer.Ordinal);
        foreach (var text in given.Split(','))
        {
            var at = text.LastIndexOf('=');
            if (at < 1 || !double.TryParse(text[(at + 1)..], NumberStyles.Float, CultureInfo.InvariantCulture, out var factor)
                || !double.IsFinite(factor) || !factors.TryAdd(text[..at], factor))
                throw new UsageError(
                    $"--{option.Name}: expected names and numbers such as quality=1,taste=0.5, each name once, got '{text}'");
        }
        return factors;
    }
}
