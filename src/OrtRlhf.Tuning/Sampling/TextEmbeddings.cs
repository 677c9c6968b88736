using OrtRlhf.Graph;
using OrtRlhf.Tuning.Sessions;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>
/// What a denoiser takes beside latents and timesteps, by prompt: the text encoders' states side by side (<c>encoder_hidden_states</c> [S,D]) and, of Stable
/// Diffusion XL, a vector of the whole text (<c>text_embeds</c> [E]) and sizes (<c>time_ids</c> [6]); nothing for a model without text. Each prompt is encoded once
/// and alone: a batch would round differently with the prompts that share it, and a resumed run meets them in another order.
/// </summary>
public sealed class TextEmbeddings : IDisposable
{
    private readonly ImageModel _model;
    private readonly GraphSession[] _sessions;
    private readonly float[] _timeIds;
    private readonly Dictionary<string, float[][]> _cache = new(StringComparer.Ordinal);

    /// <summary>Loads the text encoders.</summary>
    /// <param name="model">The model.</param>
    /// <param name="settings">Device and threads.</param>
    /// <param name="sizes">Sizes that Stable Diffusion XL is told; null for the defaults.</param>
    /// <exception cref="UserError">The model cannot be read or run.</exception>
    public TextEmbeddings(ImageModel model, SessionSettings settings, MicroConditioning? sizes = null)
    {
        _model = model;
        _timeIds = model.TakesSizes ? (sizes ?? new()).TimeIds(model.ImageSize) : [];
        _sessions = [.. model.TextEncoders.Select(encoder => new GraphSession(Needed(encoder), settings))];
        if (!model.IsConditional)
        {
            (Fields, Without) = ([], []);
            return;
        }
        Length = model.TextEncoders[0].Tokenize("").Length;
        var none = Of("");
        Width = none[0].Length / Length;
        // The empty prompt as no prompt at all, where the pipeline says so.
        Without = model.ZerosWithoutPrompt ? [.. none.Select((field, i) => i == TimeIdsField ? field : new float[field.Length])] : none;
        Fields = none.Length == 1 ? [("encoder_hidden_states", [Length, Width])]
            : [("encoder_hidden_states", [Length, Width]), ("text_embeds", [none[1].Length]), ("time_ids", [_timeIds.Length])];
    }

    private const int TimeIdsField = 2;

    /// <summary>S, tokens of a prompt; 0 for a model without text.</summary>
    public int Length { get; }

    /// <summary>D, numbers of a token.</summary>
    public int Width { get; }

    /// <summary>Names of the denoiser's inputs and the shapes of their rows.</summary>
    public IReadOnlyList<(string Input, long[] Shape)> Fields { get; }

    /// <summary>The fields of a row without a prompt, for guidance: those of "" or zeros (diffusers' <c>force_zeros_for_empty_prompt</c>).</summary>
    public float[][] Without { get; }

    /// <summary>The states [S,D] of a prompt.</summary>
    public float[] this[string prompt] => Of(prompt)[0];

    /// <summary>The fields of a prompt's row, in the order of <see cref="Fields"/>.</summary>
    public float[][] Of(string prompt)
    {
        if (_cache.TryGetValue(prompt, out var known)) return known;
        Add([prompt]);
        return _cache[prompt];
    }

    /// <summary>Encodes the prompts that are not known yet.</summary>
    public void Add(IEnumerable<string> prompts)
    {
        foreach (var prompt in prompts)
            if (!_cache.ContainsKey(prompt)) _cache[prompt] = Encode(prompt);
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_sessions, session => session.Dispose());

    private float[][] Encode(string prompt)
    {
        if (_sessions.Length == 0) return [];
        var (states, pooled) = (new List<float[]>(), Array.Empty<float>());
        var length = 0;
        foreach (var (encoder, session) in _model.TextEncoders.Zip(_sessions))
        {
            var ids = encoder.Tokenize(prompt);
            using var input = ids.ToOrt(1, ids.Length);
            var outputs = session.Run(("input_ids", input));
            if (length > 0 && ids.Length != length)
                throw new UserError($"model '{_model.Name}': {encoder.Name} reads {ids.Length} tokens, but {_model.TextEncoders[0].Name} {length}; they do not belong together");
            length = ids.Length;
            states.Add(outputs[encoder.States]);
            if (encoder.Pooled is { } name) pooled = outputs[name];
        }
        var joined = states.Count == 1 ? states[0] : SideBySide(states, length);
        return _timeIds.Length == 0 ? [joined] : [joined, pooled, _timeIds];
    }

    // [S,D1], [S,D2] to [S,D1+D2].
    private static float[] SideBySide(List<float[]> parts, int rows)
    {
        var result = new float[parts.Sum(part => part.Length)];
        for (int row = 0, at = 0; row < rows; row++)
        {
            foreach (var part in parts)
            {
                var width = part.Length / rows;
                part.AsSpan(row * width, width).CopyTo(result.AsSpan(at));
                at += width;
            }
        }
        return result;
    }

    // Without what computes the outputs that nobody asks for.
    private static OnnxGraph Needed(TextEncoder encoder)
    {
        var graph = encoder.Graph("batch");
        Value[] kept = [.. graph.Outputs.Where(output => output.Name == encoder.States || output.Name == encoder.Pooled)];
        graph.Outputs.Clear();
        foreach (var output in kept) graph.Outputs.Add(output);
        graph.RemoveUnused();
        return graph;
    }
}
