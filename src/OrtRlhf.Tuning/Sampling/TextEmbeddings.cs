using OrtRlhf.Graph;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// Text embeddings by prompt, encoded once and kept. Each is encoded alone: a batch would round differently with the prompts that share it,
/// and a resumed run meets them in another order.
/// </summary>
public sealed class TextEmbeddings : IDisposable
{
    private readonly ImageModel _model;
    private readonly GraphSession _session;
    private readonly Dictionary<string, float[]> _cache = new(StringComparer.Ordinal);

    /// <summary>Loads the text encoder.</summary>
    /// <exception cref="UserError">The model cannot be read or run.</exception>
    public TextEmbeddings(ImageModel model, SessionSettings settings)
    {
        _model = model;
        _session = new GraphSession(model.TextEncoder("batch"), settings);
        Length = model.Tokenize("").Length;
        Width = this[""].Length / Length;
    }

    /// <summary>S, tokens of a prompt.</summary>
    public int Length { get; }

    /// <summary>D, numbers of a token.</summary>
    public int Width { get; }

    /// <summary>The embedding [S,D] of a prompt; that of "" is the one without a prompt.</summary>
    public float[] this[string prompt]
    {
        get
        {
            if (_cache.TryGetValue(prompt, out var known)) return known;
            Add([prompt]);
            return _cache[prompt];
        }
    }

    /// <summary>Encodes the prompts that are not known yet.</summary>
    public void Add(IEnumerable<string> prompts)
    {
        foreach (var prompt in prompts)
        {
            if (_cache.ContainsKey(prompt)) continue;
            var ids = _model.Tokenize(prompt);
            using var input = ids.ToOrt(1, ids.Length);
            _cache[prompt] = _session.Run(("input_ids", input))["last_hidden_state"];
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();
}
