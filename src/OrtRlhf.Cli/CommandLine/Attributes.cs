namespace OrtRlhf.Cli.CommandLine;

/// <summary>A class that is a command.</summary>
/// <param name="name">Its name, of one or two words.</param>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class VerbAttribute(string name) : Attribute
{
    public string Name => name;

    /// <summary>What it does; the first sentence stands in the list of commands.</summary>
    public string HelpText { get; init; } = "";
}

/// <summary>A property that is an option: given once, by <c>--name VALUE</c> or <c>--name=VALUE</c>; a bool by its name alone.</summary>
/// <param name="longName">Its name without hyphens before it.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class OptionAttribute(string longName) : Attribute
{
    public OptionAttribute(char shortName, string longName) : this(longName) => ShortName = $"{shortName}";

    public string LongName => longName;

    public string ShortName { get; } = "";

    /// <summary>What stands for the value in help.</summary>
    public string MetaValue { get; init; } = "";

    /// <summary>Meaning, unit and default.</summary>
    public string HelpText { get; init; } = "";

    /// <summary>The value where it is not given.</summary>
    public object? Default { get; init; }

    public bool Required { get; init; }

    /// <summary>Of a list: whether it is given several times, one value each, and not once with commas.</summary>
    public bool Repeats { get; init; }
}

/// <summary>A property that is an argument without a name.</summary>
/// <param name="index">Its place, from 0.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ValueAttribute(int index) : Attribute
{
    public int Index => index;

    public string MetaName { get; init; } = "";

    public string HelpText { get; init; } = "";

    public bool Required { get; init; }
}

/// <summary>The heading under which help lists an option; options without one stand under "Options".</summary>
/// <param name="title">The heading.</param>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class SectionAttribute(string title) : Attribute
{
    public string Title => title;
}

/// <summary>A command line that help shows, in the order of the attributes.</summary>
/// <param name="text">What it does, a phrase.</param>
/// <param name="arguments">What follows the program's name.</param>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = true)]
internal sealed class ExampleAttribute(string text, string arguments) : Attribute
{
    public string Text => text;

    public string Arguments => arguments;
}
