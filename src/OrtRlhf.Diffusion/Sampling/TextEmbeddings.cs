using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Sampling;

/// <summary>
/// What a denoiser takes beside latents and timesteps, by prompt: the text encoders' states (<c>encoder_hidden_states</c> [S,D]), side by
/// side or one behind the
/// other, and where it takes them a vector of the whole text (<see cref="ImageModel.PooledInput"/> [E]), sizes (<c>time_ids</c> [6]) and
/// <c>guidance</c>;
/// nothing for a model without text. Each prompt is encoded once and alone: a batch would round differently with the prompts that share it,
/// and a resumed
/// run meets them in another order.
/// </summary>
public sealed class TextEmbeddings : IDisposable
{
    private readonly GraphSession?[] _sessions;
    private readonly (string Input, float[] Values)[] _constants;
    private readonly Dictionary<string, float[][]> _cache = new(StringComparer.Ordinal);

    /// <summary>Loads the text encoders.</summary>
    /// <param name="model">The model.</param>
    /// <param name="settings">Device and threads.</param>
    /// <param name="sizes">Sizes that Stable Diffusion XL is told; null for the defaults.</param>
    /// <param name="guidance">The number that a distilled model takes as its guidance.</param>
    /// <exception cref="UserError">The model cannot be read or run.</exception>
    public TextEmbeddings(ImageModel model, SessionSettings settings, MicroConditioning? sizes = null, double guidance = 1)
    {
        Model = model;
        _constants =
        [
            .. model.TakesSizes ? [("time_ids", (sizes ?? new()).TimeIds(model.ImageSize))] : Array.Empty<(string, float[])>(),
            .. model.TakesGuidance ? [("guidance", (float[])[(float)guidance])] : Array.Empty<(string, float[])>(),
        ];
        _sessions = new GraphSession?[model.TextEncoders.Count];
        try
        {
            foreach (var (i, encoder) in model.TextEncoders.Index()) _sessions[i] = encoder.Graph is null ? null
                : new GraphSession(Needed(encoder, encoder.Graph), settings);
            if (!model.IsConditional)
            {
                (Fields, Without) = ([], []);
                return;
            }
            var none = Joined("");
            (Length, Width) = (none.States.Count, none.States.Width);
            _cache[""] = Row(none);
            // The empty prompt as no prompt at all, where the pipeline says so.
            Without = model.ZerosWithoutPrompt ? Row((new(new float[none.States.Values.Length], Length), new float[none.Pooled.Length]))
                : _cache[""];
            Fields =
            [
                ("encoder_hidden_states", [Length, Width]),
                .. model.PooledInput is { } pooled ? [(pooled, (long[])[none.Pooled.Length])] : Array.Empty<(string, long[])>(),
                .. _constants.Select(c => (c.Input, c.Input == "guidance" ? Array.Empty<long>() : [c.Values.Length])),
            ];
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>S, tokens of a prompt; 0 for a model without text.</summary>
    public int Length { get; }

    /// <summary>D, numbers of a token.</summary>
    public int Width { get; }

    /// <summary>Names of the denoiser's inputs and the shapes of their rows.</summary>
    public IReadOnlyList<(string Input, long[] Shape)> Fields { get; }

    /// <summary>
    /// The fields of a row without a prompt, for guidance: those of "" or zeros (diffusers' <c>force_zeros_for_empty_prompt</c>).
    /// </summary>
    public float[][] Without { get; }

    /// <summary>The model they belong to.</summary>
    internal ImageModel Model { get; }

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
            if (!_cache.ContainsKey(prompt)) _cache[prompt] = Model.IsConditional ? Row(Joined(prompt)) : [];
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_sessions, session => session?.Dispose());

    private float[][] Row((TokenStates States, float[] Pooled) text) =>
        [text.States.Values, .. Model.PooledInput is null ? Array.Empty<float[]>() : [text.Pooled], .. _constants.Select(c => c.Values)];

    // States beside the first encoder's, then those behind them; all as wide as the widest.
    private (TokenStates States, float[] Pooled) Joined(string prompt)
    {
        var (parts, pooled) = (new List<TokenStates>(), new List<float>());
        foreach (var (encoder, session) in Model.TextEncoders.Zip(_sessions))
        {
            var ids = encoder.Tokenize(prompt);
            if (session is null)
            {
                parts.Add(new(new float[ids.Length * encoder.Width], ids.Length));
                continue;
            }
            using var input = ids.ToOrt(1, ids.Length);
            var outputs = session.Run(("input_ids", input));
            if (encoder.Pooled is { } vector) pooled.AddRange(outputs[vector]);
            if (encoder.States is not { } name) continue;
            var states = new TokenStates(outputs[name], ids.Length);
            if (parts.Count == 0 || encoder.IsBehind) parts.Add(states);
            else if (parts[^1].Count == states.Count) parts[^1] = parts[^1].Beside(states);
            else throw new UserError($"model '{Model.Name}': {encoder.Name} reads {states.Count} tokens, but "
                + $"{Model.TextEncoders[0].Name} {parts[^1].Count}; they do not belong together");
        }
        var width = parts.Max(part => part.Width);
        return (new([.. parts.SelectMany(part => part.Widened(width).Values)], parts.Sum(part => part.Count)), [.. pooled]);
    }

    // Without what computes the outputs that nobody asks for.
    private static OnnxGraph Needed(TextEncoder encoder, Func<Dim, OnnxGraph> build)
    {
        var graph = build("batch");
        Value[] kept = [.. graph.Outputs.Where(output => output.Name == encoder.States || output.Name == encoder.Pooled)];
        graph.Outputs.Clear();
        foreach (var output in kept) graph.Outputs.Add(output);
        graph.RemoveUnused();
        return graph;
    }

    /// <summary>States of tokens, [Count,Width].</summary>
    private readonly record struct TokenStates(float[] Values, int Count)
    {
        public int Width => Values.Length / Count;

        // [S,D1], [S,D2] to [S,D1+D2].
        public TokenStates Beside(TokenStates other)
        {
            var result = Widened(Width + other.Width);
            for (var row = 0; row < Count; row++) other.Values.AsSpan(row * other.Width, other.Width)
                .CopyTo(result.Values.AsSpan((row * result.Width) + Width));
            return result;
        }

        // Zeros behind each token's numbers.
        public TokenStates Widened(int width)
        {
            if (width == Width) return this;
            var result = new float[Count * width];
            for (var row = 0; row < Count; row++) Values.AsSpan(row * Width, Width).CopyTo(result.AsSpan(row * width));
            return new(result, Count);
        }
    }
}
