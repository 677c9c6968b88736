using System.CommandLine;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Reads a command line into a command; answers requests for help, the version and completions itself.</summary>
/// <param name="commands">The commands there are.</param>
internal sealed class CommandLineReader(CommandTable commands)
{
    private static readonly string[] HelpWords = ["--help", "-h", "help", "-?"];
    private static readonly string[] VersionWords = ["--version", "-v", "version"];
    private static readonly ParserConfiguration Settings = new() { EnablePosixBundling = false, ResponseFileTokenReplacer = null };

    /// <summary>Reads arguments.</summary>
    /// <param name="arguments">What follows the program's name.</param>
    /// <returns>The command; null when help, the version or completions were asked for and shown.</returns>
    /// <exception cref="UsageError">They mean nothing; says what is nearest.</exception>
    public ICommand? Read(string[] arguments)
    {
        if (arguments.Length == 0) return Show(HelpPage.Overview(commands));
        if (arguments[0].StartsWith("[suggest", StringComparison.Ordinal)) return Suggest(arguments);
        if (HelpWords.Contains(arguments[0])) arguments = arguments.Length == 1 ? arguments : [.. arguments[1..], "--help"];
        if (HelpWords.Contains(arguments[0])) return Show(HelpPage.Overview(commands));
        if (VersionWords.Contains(arguments[0])) return Show(Versions.Line());
        var (type, typed) = commands.Find(arguments);
        var (command, head) = (type.New(), typed.TakeWhile(argument => argument != "--").ToArray());
        var options = type.OptionsOf(command, head);
        if (head.Contains("--help") || head.Contains("-h")) return Show(HelpPage.Of(type, command, options));
        try
        {
            Fill(type, command, options, head, [.. typed.Skip(head.Length + 1)]);
            return command;
        }
        catch (UsageError fault)
        {
            throw new UsageError($"{type.Verb.Name}: {fault.Message}");
        }
    }

    private static void Fill(CommandType type, ICommand command, IReadOnlyList<CommandOption> options, string[] typed, string[] literal)
    {
        var (verb, places) = Verb(type, options);
        var values = verb.Arguments.OfType<Argument<string[]>>().Single();
        var result = verb.Parse(typed, Settings);
        var explains = $"; 'ortrlhf {type.Verb.Name} --help' explains";
        foreach (var option in options)
        {
            var given = result.GetResult(places[option]);
            if (given is null || given.Implicit)
            {
                if (option.Required) throw new UsageError(
                    $"option --{option.Name} is missing, expected {option.MetaValue}: {option.Help.TrimEnd('.')}{explains}");
                continue;
            }
            if (!option.Repeats && given.IdentifierTokenCount > 1) throw new UsageError($"option --{option.Name} is given twice{explains}");
            string[] texts = [.. given.Tokens.Select(token => token.Value)];
            if (option.IsFlag)
            {
                option.Set(command, true);
                continue;
            }
            if (texts.Length < given.IdentifierTokenCount || texts.Any(text => text.StartsWith("--", StringComparison.Ordinal)))
                throw new UsageError($"option --{option.Name} needs a value, expected {option.MetaValue}: {option.Help}");
            option.Set(command, OptionText.Parse(option, texts));
        }
        var arguments = result.GetValue(values) ?? [];
        if (arguments.FirstOrDefault(IsOption) is { } unknown) throw new UsageError(Unknown(unknown, command, options, typed) + explains);
        arguments = [.. arguments, .. literal];
        if (type.Values is [{ Property: { } all }] && all.PropertyType != typeof(string))
        {
            all.SetValue(command, arguments);
            return;
        }
        for (var i = 0; i < Math.Min(arguments.Length, type.Values.Count); i++) type.Values[i].Property.SetValue(command, arguments[i]);
        if (type.Values.Skip(arguments.Length).FirstOrDefault(v => v.Value.Required) is { Value: { } missing })
            throw new UsageError($"expected {missing.MetaName}: {missing.HelpText.TrimEnd('.')}{explains}");
        if (arguments.Length <= type.Values.Count) return;
        var expected = type.Values.Count == 0 ? "options only"
            : $"{(type.Values.Count == 1 ? "one " : "")}{string.Join(" and ", type.Values.Select(v => v.Value.MetaName))}";
        throw new UsageError($"expected {expected}, got '{arguments[type.Values.Count]}' as well{explains}");
    }

    // Every option takes text, which is read where the option is known, so that errors are ours.
    private static (Command Verb, Dictionary<CommandOption, Option<string[]>> Places) Verb(CommandType type,
        IReadOnlyList<CommandOption> options)
    {
        var verb = new Command(type.Verb.Name.Split(' ')[^1],
            type.Verb.HelpText) { new Argument<string[]>("arguments") { Arity = ArgumentArity.ZeroOrMore } };
        var places = new Dictionary<CommandOption, Option<string[]>>();
        foreach (var option in options)
        {
            var place = new Option<string[]>("--" + option.Name)
            {
                Description = option.Help,
                Arity = option.IsFlag ? ArgumentArity.Zero : ArgumentArity.ZeroOrMore,
                AllowMultipleArgumentsPerToken = false,
            };
            if (option.ShortName.Length > 0) place.Aliases.Add("-" + option.ShortName);
            var kind = Nullable.GetUnderlyingType(option.Type) ?? option.Type;
            string[] choices = kind.IsEnum ? [.. EnumName.All(kind).Select(EnumName.Write)] : [.. option.Choices];
            if (choices.Length > 0) place.CompletionSources.Add(choices);
            places[option] = place;
            verb.Options.Add(place);
        }
        return (verb, places);
    }

    // Shells ask with the directive of System.CommandLine: [suggest:POSITION] "LINE".
    private ICommand? Suggest(string[] arguments)
    {
        var root = new RootCommand();
        foreach (var type in commands.All)
        {
            var command = type.New();
            string[] typed = arguments.Length > 1 ? arguments[1].Split(' ', StringSplitOptions.RemoveEmptyEntries) : [];
            var verb = Verb(type, OptionsFor(type, command, typed)).Verb;
            Command parent = root;
            if (type.Verb.Name.Split(' ') is [var group, _])
            {
                parent = root.Subcommands.FirstOrDefault(c => c.Name == group) ?? new Command(group);
                if (parent.Parents.FirstOrDefault() is null) root.Subcommands.Add(parent);
            }
            parent.Subcommands.Add(verb);
        }
        root.Parse(arguments, Settings).Invoke();
        return null;
    }

    // While a name is typed it is none yet.
    private static IReadOnlyList<CommandOption> OptionsFor(CommandType type, ICommand command, string[] typed)
    {
        try
        {
            return type.OptionsOf(command, typed);
        }
        catch (UsageError)
        {
            return type.OptionsOf(command, []);
        }
    }

    private static bool IsOption(string text) => text is ['-', '-', _, ..] or ['-', not (>= '0' and <= '9' or '.'), ..];

    private static string Unknown(string token, ICommand command, IReadOnlyList<CommandOption> options, string[] typed)
    {
        var name = token.Split('=')[0].TrimStart('-');
        var why = (command as IRecordOptions)?.WhyNot(name, typed);
        if (why is not null) return why;
        var near = OptionNames.Meant(name, [.. options.Select(option => option.Name), "help"]);
        return $"unknown option '{token.Split('=')[0]}'{(near is null ? "" : $", did you mean '--{near}'?")}";
    }

    private static ICommand? Show(string text)
    {
        Console.Out.WriteLine(text);
        return null;
    }
}
