using OrtRlhf.Graph;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>Text embeddings by prompt: each prompt is encoded once, in batches, and kept.</summary>
public sealed class TextEmbeddings : IDisposable
{
    private const int BatchSize = 16;
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
        foreach (var batch in prompts.Where(p => !_cache.ContainsKey(p)).Distinct(StringComparer.Ordinal).Chunk(BatchSize).ToArray())
        {
            var ids = batch.SelectMany(_model.Tokenize).ToArray();
            using var input = ids.ToOrt(batch.Length, ids.Length / batch.Length);
            var states = _session.Run(("input_ids", input))["last_hidden_state"];
            var length = states.Length / batch.Length;
            for (var i = 0; i < batch.Length; i++) _cache[batch[i]] = states.AsSpan(i * length, length).ToArray();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _session.Dispose();
}
