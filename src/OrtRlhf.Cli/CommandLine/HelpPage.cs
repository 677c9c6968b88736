using System.Text;
using OrtRlhf.Rewards;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Help texts, written from the attributes of the commands.</summary>
internal static class HelpPage
{
    private const int Width = 100, Indent = 2, Column = 30;

    /// <summary>What the program does, its commands, and where to begin.</summary>
    public static string Overview(CommandTable commands)
    {
        var text = new StringBuilder();
        text.AppendLine("ortrlhf tunes image diffusion models from rewards, on ONNX Runtime, without Python.");
        text.AppendLine().AppendLine("Commands:");
        foreach (var type in commands.All) Entry(text, type.Verb.Name, FirstSentence(type.Verb.HelpText), 15);
        text.AppendLine().AppendLine("Begin with:");
        foreach (var verb in (string[])["doctor", "tune", "sample"])
            text.Append(' ', Indent).Append("ortrlhf ").AppendLine(commands.Find([verb]).Type.Examples[0].Arguments);
        text.AppendLine().Append("'ortrlhf COMMAND --help' explains a command and its options; 'ortrlhf --version' names the versions.");
        return text.ToString();
    }

    /// <summary>A command: what it does, examples, its options with units, ranges and defaults.</summary>
    public static string Of(CommandType type, ICommand command, IReadOnlyList<CommandOption> options)
    {
        var text = new StringBuilder();
        foreach (var line in Wrap(type.Verb.HelpText, Width)) text.AppendLine(line);
        text.AppendLine().Append("Usage: ortrlhf ").Append(type.Verb.Name);
        foreach (var (_, value) in type.Values) text.Append(value.Required ? $" {value.MetaName}" : $" [{value.MetaName}]");
        text.AppendLine(" [options]").AppendLine().AppendLine("Examples:");
        foreach (var example in type.Examples)
        {
            text.Append(' ', Indent).Append("# ").AppendLine(example.Text);
            text.Append(' ', Indent).Append("ortrlhf ").AppendLine(example.Arguments);
        }
        if (type.Values.Count > 0) text.AppendLine().AppendLine("Arguments:");
        foreach (var (_, value) in type.Values) Entry(text, value.MetaName, value.HelpText, Column);
        foreach (var section in options.GroupBy(option => option.Section))
        {
            text.AppendLine().AppendLine(section.Key + ":");
            foreach (var option in section)
                Entry(text, $"{(option.ShortName.Length > 0 ? $"-{option.ShortName}, " : "")}--{option.Name} {option.MetaValue}".TrimEnd(),
                    option.Help, Column);
        }
        foreach (var (heading, entries) in (command as IRecordOptions)?.HelpLists ?? [])
        {
            text.AppendLine().AppendLine(heading + ":");
            foreach (var (name, explanation) in entries) Entry(text, name, explanation, Column);
        }
        if (options.Any(option => option.Name == "reward"))
        {
            text.AppendLine().AppendLine("Rewards:");
            foreach (var reward in RewardRegistry.Default.Entries) Entry(text, reward.Usage, reward.Summary + ".", Column);
        }
        return text.ToString().TrimEnd();
    }

    private static string FirstSentence(string text) =>
        text.IndexOf(". ", StringComparison.Ordinal) is >= 0 and var end ? text[..(end + 1)] : text;

    private static void Entry(StringBuilder text, string name, string explanation, int column)
    {
        text.Append(' ', Indent).Append(name);
        if (name.Length > column - Indent - 2) text.AppendLine().Append(' ', column);
        else text.Append(' ', column - Indent - name.Length);
        text.AppendJoin(Environment.NewLine + new string(' ', column), Wrap(explanation, Width - column)).AppendLine();
    }

    private static List<string> Wrap(string text, int width)
    {
        var lines = new List<string>();
        var line = new StringBuilder();
        foreach (var word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > width)
            {
                lines.Add(line.ToString());
                line.Clear();
            }
            if (line.Length > 0) line.Append(' ');
            line.Append(word);
        }
        lines.Add(line.ToString());
        return lines;
    }
}
