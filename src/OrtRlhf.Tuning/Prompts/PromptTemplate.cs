using System.Text;
using OrtRlhf.Graph;

namespace OrtRlhf.Tuning.Prompts;

/// <summary>
/// Prompts with choices: <c>a {red|blue} {cat|dog}</c> stands for four prompts. Choices nest (<c>{a {big|small} cat|a dog}</c>)
/// and may be empty (<c>a {|red} cat</c>); <c>\{</c>, <c>\|</c>, <c>\}</c> and <c>\\</c> are the plain characters.
/// </summary>
public static class PromptTemplate
{
    /// <summary>The most prompts that one file or template may expand to: 65,536.</summary>
    public const int Limit = 65_536;

    /// <summary>
    /// All prompts of a template, the last choice changing fastest; runs of blanks that empty choices leave become one.
    /// A text without braces gives itself.
    /// </summary>
    /// <param name="template">The text.</param>
    /// <param name="where">How errors name it.</param>
    /// <param name="limit">The most prompts, default <see cref="Limit"/>.</param>
    /// <exception cref="UserError">Braces that do not match, or more prompts than the limit.</exception>
    public static IReadOnlyList<string> Expand(string template, string where = "prompt", int limit = Limit)
    {
        if (template.AsSpan().IndexOfAny("{}\\") < 0) return [template];
        var at = 0;
        var prompts = Sequence(template, ref at, where, limit, depth: 0);
        return [.. prompts.Select(OneBlank)];
    }

    private static List<string> Sequence(string text, ref int at, string where, int limit, int depth)
    {
        List<string> prefixes = [""];
        var literal = new StringBuilder();
        for (; at < text.Length; at++)
        {
            var symbol = text[at];
            if (symbol == '\\' && at + 1 < text.Length && "{|}\\".Contains(text[at + 1])) literal.Append(text[++at]);
            else if (symbol == '{') prefixes = Product(prefixes, literal, Choices(text, ref at, where, limit, depth + 1), where, limit);
            else if (symbol == '}' && depth == 0) throw new UserError(
                $"{where}: '}}' at character {at + 1} closes nothing in \"{text}\". Write \\}} for a plain brace.");
            else if (depth > 0 && symbol is '|' or '}') break;
            else literal.Append(symbol);
        }
        return Product(prefixes, literal, [""], where, limit);
    }

    // At '{' on entry, at its '}' on return.
    private static List<string> Choices(string text, ref int at, string where, int limit, int depth)
    {
        var open = at;
        var choices = new List<string>();
        do
        {
            at++;
            choices.AddRange(Sequence(text, ref at, where, limit, depth));
            if (at == text.Length)
            {
                throw new UserError($"{where}: '{{' at character {open + 1} is never closed in \"{text}\". Close it with '}}', or write "
                    + $"\\{{ for a plain brace.");
            }
        }
        while (text[at] == '|');
        return choices;
    }

    private static List<string> Product(List<string> prefixes, StringBuilder literal, List<string> choices, string where, int limit)
    {
        if ((long)prefixes.Count * choices.Count > limit)
        {
            throw new UserError($"{where}: the template stands for more than {limit} prompts. Use fewer choices, or several lines.");
        }
        var middle = literal.ToString();
        literal.Clear();
        return [.. from prefix in prefixes from choice in choices select prefix + middle + choice];
    }

    private static string OneBlank(string prompt) =>
        string.Join(' ', prompt.Split(' ', StringSplitOptions.RemoveEmptyEntries));
}
