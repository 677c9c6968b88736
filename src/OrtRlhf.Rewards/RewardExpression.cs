using System.Globalization;
using System.Text.RegularExpressions;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// Reads weighted sums: <c>expression = [sign] term {sign term}</c>, <c>term = reward | number '*' reward | reward '*' number</c>,
/// <c>reward = name [':' argument]</c>, blanks anywhere between them. Names contain hyphens: "a-b" is the reward of that name where there
/// is one, else
/// a minus b. An argument ends at a blank, '+' or '*', or stands in single or double quotes.
/// </summary>
internal static partial class RewardExpression
{
    /// <summary>Weight by name, in order of first appearance; repeated names are added up.</summary>
    /// <param name="text">The expression.</param>
    /// <param name="isKnown">Whether a reward of that name exists.</param>
    /// <param name="known">The names, for the error.</param>
    public static IReadOnlyList<(RewardName Name, double Weight)> Parse(string text, Func<string, bool> isKnown, IEnumerable<string> known)
    {
        var weights = new List<(RewardName Name, double Weight)>();
        var at = 0;
        SkipBlanks();
        if (at == text.Length) throw Wrong("is empty");
        do
        {
            var sign = TakeSign(first: weights.Count == 0);
            var weight = TakeNumber() is { } before ? before : double.NaN;
            if (!double.IsNaN(weight)) Expect('*');
            var name = new RewardName(TakeName(), TakeArgument());
            SkipBlanks();
            if (double.IsNaN(weight)) weight = Take('*') ? TakeNumber() ?? throw Wrong($"needs a number after '{name}*'") : 1;
            Add(name, sign * weight);
        }
        while (at < text.Length);

        foreach (var (name, weight) in weights)
        {
            if (weight == 0 || !double.IsFinite(weight)) throw Wrong(
                $"gives '{name}' the weight {weight.ToString(CultureInfo.InvariantCulture)}; rewards without a weight are watched anyway");
        }
        return weights;

        void SkipBlanks()
        {
            while (at < text.Length && char.IsWhiteSpace(text[at])) at++;
        }

        bool Take(char symbol)
        {
            if (at == text.Length || text[at] != symbol) return false;
            at++;
            SkipBlanks();
            return true;
        }

        void Expect(char symbol)
        {
            if (!Take(symbol)) throw Wrong($"needs '{symbol}' {Place()}");
        }

        double TakeSign(bool first)
        {
            if (Take('-')) return -1;
            if (Take('+') || first) return 1;
            throw Wrong($"needs '+' or '-' {Place()}");
        }

        double? TakeNumber()
        {
            var match = Number().Match(text, at);
            if (!match.Success) return null;
            at += match.Length;
            SkipBlanks();
            return double.Parse(match.Value, CultureInfo.InvariantCulture);
        }

        string TakeName()
        {
            var match = Name().Match(text, at);
            if (!match.Success) throw Wrong($"needs the name of a reward {Place()}");
            var name = match.Value;
            for (var cut = name.Length; cut > 0 && !isKnown(name); cut = match.Value.LastIndexOf('-', cut - 1)) name = match.Value[..cut];
            if (!isKnown(name)) throw new UserError($"unknown reward '{match.Value}' in '{text}': known are {string.Join(", ", known)}.");
            at += name.Length;
            if (at == text.Length || text[at] != ':') SkipBlanks();
            return name;
        }

        string? TakeArgument()
        {
            if (at == text.Length || text[at] != ':') return null;
            at++;
            var quote = at < text.Length && text[at] is '\'' or '"' ? text[at] : '\0';
            if (quote != '\0')
            {
                var end = text.IndexOf(quote, at + 1);
                if (end < 0) throw Wrong($"has no end of the quotes {Place()}");
                var quoted = text[(at + 1)..end];
                at = end + 1;
                return quoted;
            }
            var match = RewardName.Unquoted().Match(text, at);
            if (!match.Success) throw Wrong($"needs an argument behind ':' {Place()}");
            at += match.Length;
            return match.Value;
        }

        void Add(RewardName name, double weight)
        {
            var index = weights.FindIndex(entry => entry.Name == name);
            if (index < 0) weights.Add((name, weight));
            else weights[index] = (name, weights[index].Weight + weight);
        }

        string Place() => at == text.Length ? "at the end" : $"at '{text[at..]}'";

        UserError Wrong(string fault) => new($"reward '{text}' {fault}: write for instance 'jpeg-compressibility+2*prompt-alignment'. "
            + $"Known are {string.Join(", ", known)}.");
    }

    [GeneratedRegex(@"\G(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", RegexOptions.CultureInvariant)]
    private static partial Regex Number();

    [GeneratedRegex(@"\G[A-Za-z_][A-Za-z0-9_]*(-[A-Za-z0-9_]+)*", RegexOptions.CultureInvariant)]
    private static partial Regex Name();
}
