using System.Reflection;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>A command's class: its verb, options, arguments and examples, read from its attributes.</summary>
/// <param name="Class">The class.</param>
internal sealed record CommandType(Type Class)
{
    /// <summary>Its verb.</summary>
    public VerbAttribute Verb { get; } = Class.GetCustomAttribute<VerbAttribute>()!;

    /// <summary>Command lines that show its use.</summary>
    public IReadOnlyList<ExampleAttribute> Examples { get; } = [.. Class.GetCustomAttributes<ExampleAttribute>(false)];

    /// <summary>Its arguments without a name.</summary>
    public IReadOnlyList<(PropertyInfo Property, ValueAttribute Value)> Values { get; } =
    [
        .. from property in Properties(Class)
           let value = property.GetCustomAttribute<ValueAttribute>()
           where value is not null
           orderby value.Index
           select (property, value),
    ];

    /// <summary>The command at its defaults.</summary>
    public ICommand New()
    {
        var command = (ICommand)Activator.CreateInstance(Class)!;
        foreach (var property in Properties(Class))
            if (property.GetCustomAttribute<OptionAttribute>()?.Default is { } value) property.SetValue(command, value);
        return command;
    }

    /// <summary>
    /// Its options: its own in the order of their source, those made from records, which may depend on what was typed, and those it shares
    /// with other commands.
    /// </summary>
    /// <param name="command">The command.</param>
    /// <param name="arguments">What was typed after the verb.</param>
    public IReadOnlyList<CommandOption> OptionsOf(ICommand command, IReadOnlyList<string> arguments)
    {
        return [.. Own(shared: false), .. (command as IRecordOptions)?.OptionsOf(arguments) ?? [], .. Own(shared: true)];

        IEnumerable<CommandOption> Own(bool shared) =>
               from property in Properties(Class)
               where property.DeclaringType != Class == shared
               let option = property.GetCustomAttribute<OptionAttribute>()
               where option is not null
               let help = option.Default is { } value ? $"{option.HelpText} Default {value}." : option.HelpText
               let section = property.GetCustomAttribute<SectionAttribute>()?.Title ?? "Options"
               select new CommandOption(option.LongName, option.MetaValue, help, section, property.PropertyType, property.SetValue)
               {
                   ShortName = option.ShortName,
                   Required = option.Required,
                   Repeats = option.Repeats,
               };
    }

    // Those of a command before those it shares with others.
    private static PropertyInfo[] Properties(Type type) =>
        [.. type.GetProperties().OrderBy(property => property.DeclaringType != type).ThenBy(property => property.MetadataToken)];
}

/// <summary>A command with options made from records.</summary>
internal interface IRecordOptions
{
    /// <summary>Those options, for what was typed.</summary>
    /// <param name="arguments">What was typed after the verb.</param>
    IEnumerable<CommandOption> OptionsOf(IReadOnlyList<string> arguments);

    /// <summary>Why there is no such option for what was typed, though there is for something else; null where nothing has it.</summary>
    /// <param name="option">Its name.</param>
    /// <param name="arguments">What was typed after the verb.</param>
    string? WhyNot(string option, IReadOnlyList<string> arguments);

    /// <summary>More of help: a heading and entries.</summary>
    IEnumerable<(string Heading, IEnumerable<(string Name, string Text)> Entries)> HelpLists { get; }
}
