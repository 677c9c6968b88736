using System.Globalization;
using OrtRlhf.Graph;

namespace OrtRlhf.Rewards;

/// <summary>
/// The argument of a reward: what it scores with (a folder, file or address), and options behind it, each after a <c>#</c>:
/// <c>http://localhost:8000/score#timeout=30#batch=8</c>.
/// </summary>
internal sealed class RewardArgument
{
    private readonly RewardName _name;
    private readonly Dictionary<string, string> _options = new(StringComparer.Ordinal);
    private readonly string[] _known;

    /// <summary>Reads an argument.</summary>
    /// <param name="name">The reward.</param>
    /// <param name="known">Names of its options.</param>
    /// <exception cref="UserError">An option that is not known, is given twice or has no value.</exception>
    public RewardArgument(RewardName name, params string[] known)
    {
        (_name, _known) = (name, known);
        var parts = (name.Argument ?? "").Split('#');
        Target = parts[0];
        foreach (var part in parts.Skip(1))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            var key = equals < 0 ? part : part[..equals];
            if (equals < 0 || equals == part.Length - 1 || !known.Contains(key) || !_options.TryAdd(key, part[(equals + 1)..]))
                throw Fault($"option '#{part}': expected each at most once of {string.Join(", ", known.Select(k => $"#{k}=VALUE"))}");
        }
    }

    /// <summary>What stands before the options.</summary>
    public string Target { get; }

    /// <summary>A text; null where it is not given.</summary>
    public string? Text(string key)
    {
        if (!_known.Contains(key)) throw new ArgumentException($"'{key}' is not among the options.", nameof(key));
        return _options.GetValueOrDefault(key);
    }

    /// <summary>A whole number in a range.</summary>
    public int Integer(string key, int otherwise, int least, int most)
    {
        if (Text(key) is not { } text) return otherwise;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most
            ? number : throw Fault($"#{key}: expected a whole number from {least} to {most}, got '{text}'");
    }

    /// <summary>A number above 0.</summary>
    public double Positive(string key, double otherwise, double most)
    {
        if (Text(key) is not { } text) return otherwise;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && number > 0 && number <= most
            ? number : throw Fault($"#{key}: expected a number above 0, at most {most}, got '{text}'");
    }

    /// <summary>An error that names the reward.</summary>
    public UserError Fault(string fault) => new($"reward '{_name}': {fault}.");
}
