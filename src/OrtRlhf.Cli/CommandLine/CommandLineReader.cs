using System.Globalization;
using CommandLine;
using OrtRlhf.Cli.Commands;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Reads a command line into a command; answers requests for help and version itself.</summary>
internal static class CommandLineReader
{
    /// <summary>Separator of options that may be given several times; nobody types it.</summary>
    public const char Separate = '\u0001';

    private static readonly string[] HelpWords = ["--help", "-h", "help", "-?"];
    private static readonly string[] VersionWords = ["--version", "-v", "version"];

    /// <summary>Reads arguments.</summary>
    /// <param name="arguments">What follows the program's name.</param>
    /// <returns>The command; null when help or the version was asked for and shown.</returns>
    /// <exception cref="UsageError">They mean nothing; says what is nearest.</exception>
    public static ICommand? Read(string[] arguments)
    {
        if (arguments.Length == 0) return Show(HelpPage.Overview());
        if (HelpWords.Contains(arguments[0])) return Show(arguments.Length == 1 ? HelpPage.Overview() : HelpPage.Of(FindVerb(OneVerb(arguments[1..])[0])));
        arguments = OneVerb(arguments);
        if (VersionWords.Contains(arguments[0])) return Show(Versions.Line());
        var type = FindVerb(arguments[0]);
        var options = arguments.TakeWhile(argument => argument != "--").ToArray();
        return options.Contains("--help") || options.Contains("-h") ? Show(HelpPage.Of(type)) : Parse(type, arguments);
    }

    // Some commands have names of two words.
    private static string[] OneVerb(string[] arguments) =>
        arguments.Length > 1 && Verbs.Find($"{arguments[0]} {arguments[1]}") is not null ? [$"{arguments[0]} {arguments[1]}", .. arguments[2..]] : arguments;

    private static ICommand Parse(Type type, string[] arguments)
    {
        using var parser = new Parser(settings =>
        {
            (settings.HelpWriter, settings.AutoHelp, settings.AutoVersion) = (null, false, false);
            (settings.ParsingCulture, settings.CaseInsensitiveEnumValues) = (CultureInfo.InvariantCulture, true);
            settings.EnableDashDash = true;
        });
        var result = parser.ParseArguments(Joined(type, arguments), type, typeof(Nothing));
        if (result is NotParsed<object> failed) throw new UsageError($"{arguments[0]}: {Describe(failed.Errors.First(), type, arguments)}; 'ortrlhf {arguments[0]} --help' explains");
        var command = (ICommand)result.Value;
        var expected = Verbs.ValuesOf(type).Count(value => !value.Hidden);
        if (command.Rest.FirstOrDefault() is { } extra)
        {
            throw new UsageError($"{arguments[0]}: expected {(expected == 0 ? "options only" : "one " + Verbs.ValuesOf(type).First().MetaName)}, got '{extra}' as well; 'ortrlhf {arguments[0]} --help' explains");
        }
        return command;
    }

    // The parser lets an option without its value pass, and one that may come twice swallows what follows: here options get exactly one value
    // each, those that may come twice are joined, and all go behind the other arguments.
    private static string[] Joined(Type type, string[] arguments)
    {
        var (others, options) = (new List<string>(), new List<string>());
        var places = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == "--") return [.. others, .. options, .. arguments[i..]];
            var (given, value) = arguments[i].Split('=', 2) is [['-', '-', ..] start, var end] ? (start, end) : (arguments[i], null);
            var (property, option, _) = Verbs.OptionsOf(type).FirstOrDefault(entry => given == "--" + entry.Option.LongName || (entry.Option.ShortName.Length > 0 && given == "-" + entry.Option.ShortName));
            if (option is null || property.PropertyType == typeof(bool))
            {
                others.Add(arguments[i]);
                continue;
            }
            var name = "--" + option.LongName;
            if (value is null && (i + 1 == arguments.Length || arguments[i + 1].StartsWith("--", StringComparison.Ordinal)))
                throw new UsageError($"{arguments[0]}: option {name} needs a value, expected {option.MetaValue}: {option.HelpText}");
            value ??= arguments[++i];
            if (option.Separator == Separate && places.TryGetValue(name, out var place)) options[place] += Separate + value;
            else
            {
                options.AddRange([name, value]);
                places[name] = options.Count - 1;
            }
        }
        return [.. others, .. options];
    }

    private static string Describe(Error error, Type type, string[] arguments) => error switch
    {
        UnknownOptionError unknown => Unknown(unknown.Token, type),
        BadFormatConversionError bad => $"option {Name(bad)} cannot be '{Value(bad, arguments)}'{Expected(bad, type)}",
        RepeatedOptionError repeated => $"option {Name(repeated)} is given twice",
        MissingRequiredOptionError required => $"option {Name(required)} is missing{Expected(required, type)}",
        NamedError named => $"option {Name(named)}: {named.Tag}",
        TokenError token => $"'{token.Token}': {token.Tag}",
        _ => $"{error.Tag}",
    };

    private static string Name(NamedError error) => error.NameInfo.LongName.Length > 0 ? "--" + error.NameInfo.LongName : error.NameInfo.NameText;

    private static string Value(NamedError error, string[] arguments)
    {
        var at = Array.FindIndex(arguments, argument => argument == Name(error) || argument.StartsWith(Name(error) + "=", StringComparison.Ordinal));
        if (at < 0) return "that";
        return arguments[at].Contains('=') ? arguments[at][(arguments[at].IndexOf('=') + 1)..] : at + 1 < arguments.Length ? arguments[at + 1] : "";
    }

    private static string Expected(NamedError error, Type type) =>
        Verbs.OptionsOf(type).FirstOrDefault(entry => entry.Option.LongName == error.NameInfo.LongName).Option is { MetaValue.Length: > 0 } option
            ? $", expected {option.MetaValue}: {option.HelpText.TrimEnd('.')}"
            : "";

    private static string Unknown(string token, Type type)
    {
        var known = Verbs.OptionsOf(type).Select(entry => entry.Option.LongName).Append("help").ToArray();
        var near = Spelling.Closest(token, known);
        return $"unknown option '{(token.Length > 1 ? "--" : "-")}{token}'{(near is null ? "" : $", did you mean '--{near}'?")}";
    }

    private static Type FindVerb(string verb)
    {
        if (Verbs.Find(verb) is { } found) return found;
        var names = Verbs.All.Select(type => Verbs.VerbOf(type).Name).ToArray();
        var near = Spelling.Closest(verb, names);
        throw new UsageError($"unknown command '{verb}'{(near is null ? $", expected {string.Join(", ", names)}" : $", did you mean '{near}'?")}; 'ortrlhf --help' lists all");
    }

    private static ICommand? Show(string text)
    {
        Console.Out.WriteLine(text);
        return null;
    }

    // The parser wants at least two verbs to treat the first argument as one.
    [Verb("-")]
    private sealed class Nothing;
}
