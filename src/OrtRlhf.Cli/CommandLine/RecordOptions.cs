using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using System.Text.Json.Serialization;
using OrtRlhf.Graph;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>
/// Options made from the properties of a record: name, type, range, default and explanation stand there and nowhere else.
/// </summary>
internal static class RecordOptions
{
    /// <summary>
    /// The properties that are options: those with values that have a text. Parts of the record that are records of their own are not.
    /// </summary>
    /// <param name="type">The record.</param>
    public static IEnumerable<PropertyInfo> Properties(Type type) =>
        from property in type.GetProperties()
        where property.SetMethod is not null && property.GetCustomAttribute<JsonIgnoreAttribute>() is null
        let kind = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType
        where kind.IsPrimitive || kind.IsEnum || kind == typeof(string) || kind.IsGenericType
        select property;

    /// <summary>One option.</summary>
    /// <param name="property">The property.</param>
    /// <param name="defaults">A record at its defaults.</param>
    /// <param name="set">Takes the value.</param>
    /// <param name="more">What else help says.</param>
    public static CommandOption Of(PropertyInfo property, object defaults, Action<object> set, string more = "") => new(
        OptionNames.Of(property.Name),
        property.GetCustomAttribute<DisplayAttribute>()?.Prompt ?? OptionText.MetaValue(property.PropertyType),
        Help(property, defaults, more),
        property.GetCustomAttribute<CategoryAttribute>()?.Category ?? "Options",
        property.PropertyType,
        (_, value) => set(value));

    private static string Help(PropertyInfo property, object defaults, string more)
    {
        var range = property.GetCustomAttribute<RangeAttribute>() is { } r ? OptionRange.Describe(r) : null;
        var value = OptionText.Write(property.GetValue(defaults));
        string[] facts = [.. new[] { range, value is null ? null : $"default {value}" }.OfType<string>()];
        var last = string.Join("; ", facts);
        if (last.Length > 0) last = $"{char.ToUpper(last[0], CultureInfo.InvariantCulture)}{last[1..]}.";
        return string.Join(" ", new[] { DocComments.Of(property), more, last }.Where(text => text.Length > 0));
    }
}
