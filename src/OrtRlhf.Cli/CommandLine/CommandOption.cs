namespace OrtRlhf.Cli.CommandLine;

/// <summary>An option of a command, from an attribute of its class or a property of a record of options.</summary>
/// <param name="Name">Its name without hyphens before it.</param>
/// <param name="MetaValue">What stands for the value in help; empty for one without a value.</param>
/// <param name="Help">Meaning, unit, range and default.</param>
/// <param name="Section">Its heading in help.</param>
/// <param name="Type">The type of its value.</param>
/// <param name="Set">Gives a command the value.</param>
internal sealed record CommandOption(string Name, string MetaValue, string Help, string Section, Type Type, Action<ICommand, object> Set)
{
    public string ShortName { get; init; } = "";

    public bool Required { get; init; }

    public bool Repeats { get; init; }

    /// <summary>Values that a shell offers where the type does not say them.</summary>
    public IEnumerable<string> Choices { get; init; } = [];

    /// <summary>Whether the name alone says it.</summary>
    public bool IsFlag => Type == typeof(bool);
}
