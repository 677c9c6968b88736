using System.Collections;
using System.Reflection;
using CommandLine;
using OrtRlhf.Cli.Commands;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>The commands there are, and their options, read from the attributes of their classes.</summary>
internal static class Verbs
{
    /// <summary>The classes of all commands, in the order in which help lists them.</summary>
    public static Type[] All { get; } =
        [typeof(TuneCommand), typeof(SampleCommand), typeof(EvalCommand), typeof(CompareCommand), typeof(LabelCommand), typeof(PreferencesCommand), typeof(RewardTrainCommand), typeof(ImportCommand), typeof(PackCommand), typeof(ArtifactsCommand), typeof(InspectCommand), typeof(BenchCommand), typeof(DoctorCommand)];

    /// <summary>The verb of a command's class.</summary>
    public static VerbAttribute VerbOf(Type command) => command.GetCustomAttribute<VerbAttribute>()!;

    /// <summary>The class of a verb; null when there is none.</summary>
    public static Type? Find(string verb) => All.FirstOrDefault(command => VerbOf(command).Name == verb);

    /// <summary>A command's options in the order of its source, with their headings.</summary>
    public static IEnumerable<(PropertyInfo Property, OptionAttribute Option, string Section)> OptionsOf(Type command) =>
        from property in Properties(command)
        let option = property.GetCustomAttribute<OptionAttribute>()
        where option is not null
        select (property, option, property.GetCustomAttribute<SectionAttribute>()?.Title ?? "Options");

    /// <summary>A command's arguments without a name.</summary>
    public static IEnumerable<ValueAttribute> ValuesOf(Type command) =>
        Properties(command).Select(property => property.GetCustomAttribute<ValueAttribute>()).OfType<ValueAttribute>().OrderBy(value => value.Index);

    /// <summary>Names of the options and arguments that were given a value.</summary>
    public static IEnumerable<string> Given(ICommand command) =>
        from property in Properties(command.GetType())
        where IsGiven(property.GetValue(command))
        let name = property.GetCustomAttribute<OptionAttribute>()?.LongName ?? property.GetCustomAttribute<ValueAttribute>()?.MetaName
        where name is not null
        select name;

    private static bool IsGiven(object? value) => value switch
    {
        null or false => false,
        string => true,
        IEnumerable list => list.Cast<object>().Any(),
        _ => true,
    };

    // Those of a command before those it shares with others.
    private static PropertyInfo[] Properties(Type command) => [.. command.GetProperties().OrderBy(property => property.DeclaringType != command).ThenBy(property => property.MetadataToken)];
}
