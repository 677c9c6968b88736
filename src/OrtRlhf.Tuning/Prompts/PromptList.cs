using System.Text;
using OrtRlhf.Graph;
using OrtRlhf.Learning;

namespace OrtRlhf.Tuning.Prompts;

/// <summary>Prompts in a fixed order, as a file or a template gives them.</summary>
public sealed class PromptList
{
    /// <summary>The longest line of a prompt file, in characters; text encoders read far less.</summary>
    public const int MaxLength = 4000;

    private PromptList(string source, IReadOnlyList<string> prompts) => (Source, Prompts) = (source, prompts);

    /// <summary>Where the prompts come from, for messages.</summary>
    public string Source { get; }

    /// <summary>The prompts, at least one, in order; the same text may come twice and then counts twice.</summary>
    public IReadOnlyList<string> Prompts { get; }

    /// <summary>
    /// Reads a prompt file: UTF-8, one prompt or template (<see cref="PromptTemplate"/>) a line, blanks around it dropped.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="UserError">Missing, unreadable or empty; an empty line, a NUL, bytes that are not UTF-8, a line over
    /// <see cref="MaxLength"/> characters, a faulty template, or too many prompts; with the line's number.</exception>
    public static PromptList Read(string path)
    {
        byte[] bytes;
        try
        {
            if (Directory.Exists(path)) throw new UserError($"{path}: expected a prompt file, got a folder.");
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception fault) when (fault is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UserError($"{path}: no such prompt file. Give a text file with one prompt a line.", fault);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"{path}: cannot read the prompt file: {fault.Message}", fault);
        }
        ReadOnlySpan<byte> text = bytes;
        if (text.StartsWith(Encoding.UTF8.Preamble)) text = text[Encoding.UTF8.Preamble.Length..];
        if (text.IsEmpty) throw new UserError($"{path}: the prompt file is empty. Write one prompt a line.");
        if (text[^1] == '\n') text = text[..^1];

        var prompts = new List<string>();
        var number = 0;
        foreach (var range in text.Split((byte)'\n'))
        {
            number++;
            var line = Line(text[range], $"{path}, line {number}");
            prompts.AddRange(PromptTemplate.Expand(line, $"{path}, line {number}", PromptTemplate.Limit - prompts.Count));
        }
        return new PromptList(path, prompts);
    }

    /// <summary>Prompts given directly, each one a prompt or a template.</summary>
    /// <param name="prompts">At least one.</param>
    /// <param name="source">Where they come from, for messages.</param>
    /// <exception cref="UserError">None, or as <see cref="Read"/> for each.</exception>
    public static PromptList Of(IEnumerable<string> prompts, string source = "prompts")
    {
        var expanded = new List<string>();
        var number = 0;
        foreach (var prompt in prompts)
        {
            var where = $"{source}, prompt {++number}";
            expanded.AddRange(PromptTemplate.Expand(Checked(prompt, where), where, PromptTemplate.Limit - expanded.Count));
        }
        if (expanded.Count == 0) throw new UserError($"{source}: expected at least one prompt, got none.");
        return new PromptList(source, expanded);
    }

    /// <summary>Prompts that were checked and expanded before.</summary>
    internal static PromptList Plain(IReadOnlyList<string> prompts) => new("prompts", prompts);

    /// <summary>The prompt of one draw: uniform, with replacement, and the same for the same arguments on every machine.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="epoch">The epoch.</param>
    /// <param name="index">The draw's number within the epoch.</param>
    public string Draw(ulong seed, uint epoch, uint index) =>
        Prompts[new Philox(seed, epoch, index, RandomStep.Prompts).Below(Prompts.Count)];

    /// <summary>
    /// Puts some prompts aside for evaluation: texts drawn without replacement, never more than half of the different ones. All
    /// lines of a text go the same way, so that no prompt is on both sides.
    /// </summary>
    /// <param name="heldOut">Different texts to put aside, 0 or more; fewer are when the list is short, none of a list with one.</param>
    /// <param name="seed">Chooses them.</param>
    /// <returns>The prompts to train on, in their order, and those put aside, in their order; null when none are.</returns>
    public (PromptList Training, PromptList? HeldOut) Split(int heldOut, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(heldOut);
        var texts = Prompts.Distinct().ToArray();
        new Philox(seed, uint.MaxValue, 0, RandomStep.Prompts).Shuffle<string>(texts);
        var aside = texts.Take(Math.Min(heldOut, texts.Length / 2)).ToHashSet();
        var training = new PromptList(Source, [.. Prompts.Where(prompt => !aside.Contains(prompt))]);
        return (training, aside.Count == 0 ? null : new PromptList(Source + " (held out)", [.. Prompts.Where(aside.Contains).Distinct()]));
    }

    private static string Line(ReadOnlySpan<byte> bytes, string where)
    {
        try
        {
            return Checked(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes), where);
        }
        catch (DecoderFallbackException fault)
        {
            throw new UserError($"{where}: expected UTF-8 text, got the byte 0x{fault.BytesUnknown?.FirstOrDefault():X2} at position "
                + $"{fault.Index + 1}. Save the file as UTF-8.", fault);
        }
    }

    private static string Checked(string prompt, string where)
    {
        if (prompt.Contains('\0')) throw new UserError(
            $"{where}: the prompt contains a NUL character at position {prompt.IndexOf('\0') + 1}. Save the file as plain UTF-8 text.");
        var trimmed = prompt.Trim();
        if (trimmed.Length == 0) throw new UserError($"{where}: the line is empty. Write a prompt, or remove the line.");
        if (trimmed.Length > MaxLength) throw new UserError(
            $"{where}: the prompt has {trimmed.Length} characters; at most {MaxLength} are allowed. Shorten it.");
        return trimmed;
    }
}
