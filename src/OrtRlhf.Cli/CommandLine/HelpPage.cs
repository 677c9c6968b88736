using System.Text;
using OrtRlhf.Cli.Commands;
using OrtRlhf.Rewards;

namespace OrtRlhf.Cli.CommandLine;

/// <summary>Help texts, written from the attributes of the commands.</summary>
internal static class HelpPage
{
    private const int Width = 100, Indent = 2, Column = 30;

    /// <summary>What the program does, its commands, and where to begin.</summary>
    public static string Overview()
    {
        var text = new StringBuilder();
        text.AppendLine("ortrlhf tunes image diffusion models from rewards, on ONNX Runtime, without Python.");
        text.AppendLine().AppendLine("Commands:");
        foreach (var type in Verbs.All) Entry(text, Verbs.VerbOf(type).Name, FirstSentence(Verbs.VerbOf(type).HelpText), 12);
        text.AppendLine().AppendLine("Begin with:");
        foreach (var type in (Type[])[typeof(DoctorCommand), typeof(TuneCommand), typeof(SampleCommand)])
        {
            var example = ExamplesOf(type)[0];
            text.Append(' ', Indent).Append("ortrlhf ").AppendLine(example.Arguments);
        }
        text.AppendLine().Append("'ortrlhf COMMAND --help' explains a command and its options; 'ortrlhf --version' names the versions.");
        return text.ToString();
    }

    /// <summary>A command: what it does, examples, its options with units and defaults.</summary>
    /// <param name="type">The command's class.</param>
    public static string Of(Type type)
    {
        var verb = Verbs.VerbOf(type);
        var values = Verbs.ValuesOf(type).Where(value => !value.Hidden).ToArray();
        var text = new StringBuilder();
        foreach (var line in Wrap(verb.HelpText, Width)) text.AppendLine(line);
        text.AppendLine().Append("Usage: ortrlhf ").Append(verb.Name);
        foreach (var value in values) text.Append(value.Required ? $" {value.MetaName}" : $" [{value.MetaName}]");
        text.AppendLine(" [options]").AppendLine().AppendLine("Examples:");
        foreach (var example in ExamplesOf(type))
        {
            text.Append(' ', Indent).Append("# ").AppendLine(example.Text);
            text.Append(' ', Indent).Append("ortrlhf ").AppendLine(example.Arguments);
        }
        if (values.Length > 0) text.AppendLine().AppendLine("Arguments:");
        foreach (var value in values) Entry(text, value.MetaName, value.HelpText, Column);
        foreach (var section in Verbs.OptionsOf(type).Where(entry => !entry.Option.Hidden).GroupBy(entry => entry.Section))
        {
            text.AppendLine().AppendLine(section.Key + ":");
            foreach (var (property, option, _) in section)
            {
                var name = (option.ShortName.Length > 0 ? $"-{option.ShortName}, " : "") + "--" + option.LongName;
                Entry(text, property.PropertyType == typeof(bool) ? name : $"{name} {option.MetaValue}", option.Default is { } value ? $"{option.HelpText} Default {value}." : option.HelpText, Column);
            }
        }
        if (Verbs.OptionsOf(type).Any(entry => entry.Option.LongName == "reward"))
        {
            text.AppendLine().AppendLine("Rewards:");
            foreach (var reward in RewardRegistry.Default.Entries) Entry(text, reward.Usage, reward.Summary + ".", Column);
        }
        return text.ToString().TrimEnd();
    }

    private static ExampleAttribute[] ExamplesOf(Type type) => (ExampleAttribute[])type.GetCustomAttributes(typeof(ExampleAttribute), false);

    private static string FirstSentence(string text) => text.IndexOf(". ", StringComparison.Ordinal) is >= 0 and var end ? text[..(end + 1)] : text;

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
