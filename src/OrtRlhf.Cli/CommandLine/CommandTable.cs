namespace OrtRlhf.Cli.CommandLine;

/// <summary>The commands there are.</summary>
/// <param name="classes">Their classes, in the order in which help lists them.</param>
internal sealed class CommandTable(params IEnumerable<Type> classes)
{
    /// <summary>All commands.</summary>
    public IReadOnlyList<CommandType> All { get; } = [.. classes.Select(type => new CommandType(type))];

    /// <summary>The command that arguments begin with, and what follows its name of one or two words.</summary>
    /// <exception cref="UsageError">There is none; says which is nearest.</exception>
    public (CommandType Type, string[] Typed) Find(string[] arguments)
    {
        foreach (var words in (int[])[2, 1])
            if (All.FirstOrDefault(type => type.Verb.Name == string.Join(' ', arguments.Take(words))) is { } found) return (found,
                arguments[Math.Min(words, arguments.Length)..]);
        var names = All.Select(type => type.Verb.Name).ToArray();
        var near = Spelling.Closest(arguments[0], names);
        throw new UsageError(
            $"unknown command '{arguments[0]}'{(near is null ? $", expected {string.Join(", ", names)}" : $", did you mean '{near}'?")}; "
            + $"'ortrlhf --help' lists all");
    }
}
