using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>Where a model's weights come from, and whether a graph takes them as constants or as parameters to train.</summary>
public sealed class Weights
{
    private readonly Func<string, long[], Tensor> _source;
    private readonly Predicate<string>? _single;

    /// <summary>Makes weights from a function.</summary>
    /// <param name="source">Gives the tensor of a name (as in safetensors files: <c>conv_in.weight</c>) and the shape that the architecture
    /// asks for.</param>
    /// <param name="trainable">Whether the graph's parameters can be trained: inputs with defaults, in the layout of the file.</param>
    /// <param name="type">Element type of the model: Float or Float16. Tensors of other types are converted when they are read.</param>
    public Weights(Func<string, long[], Tensor> source, bool trainable = false, ElementType type = ElementType.Float)
    {
        _source = source;
        Trainable = trainable;
        Type = type;
    }

    /// <summary>Makes weights from tensors by name.</summary>
    /// <exception cref="UserError">When built with them: a name is missing or a shape is not the architecture's.</exception>
    public Weights(IReadOnlyDictionary<string, Tensor> tensors, bool trainable = false, ElementType type = ElementType.Float)
        : this((name, shape) => tensors.TryGetValue(name, out var tensor) ? tensor : throw Missing(tensors, name, shape), trainable, type)
    {
    }

    private Weights(Func<string, long[], Tensor> source, bool trainable, ElementType type, Predicate<string>? single)
        : this(source, trainable, type) => _single = single;

    /// <summary>Whether the graph's parameters can be trained.</summary>
    public bool Trainable { get; }

    /// <summary>Element type of the model.</summary>
    public ElementType Type { get; }

    /// <summary>The same weights in another element type.</summary>
    public Weights In(ElementType type) => new(_source, Trainable, type, _single);

    /// <summary>
    /// The same weights, of which a half-precision model keeps vectors and those of some modules single, so that what reads the file can
    /// have them unrounded.
    /// </summary>
    /// <param name="modules">Which, by path.</param>
    public Weights KeepSingle(Predicate<string> modules) => new(_source, Trainable, Type, modules);

    /// <summary>
    /// A weight in the model's element type, or single if it is kept so, its shape checked; axes of size one at the end may be left out or
    /// added (1x1 convolutions).
    /// </summary>
    /// <exception cref="UserError">The shape is not the one asked for.</exception>
    public Tensor Get(string name, params long[] shape)
    {
        var tensor = _source(name, shape);
        if (!tensor.Dims.AsSpan().SequenceEqual(shape))
        {
            if (!Trimmed(tensor.Dims).SequenceEqual(Trimmed(shape)))
                throw new UserError($"weight '{name}': expected shape [{string.Join(",", shape)}] as config.json says, got "
                    + $"[{string.Join(",", tensor.Dims)}]");
            tensor = tensor.Reshaped(shape);
        }
        if (Type != ElementType.Float16) return tensor.As(Type);
        return _single is not null && (shape.Length == 1 || _single(name[..Math.Max(0, name.LastIndexOf('.'))]))
            ? tensor.As(ElementType.Float) : tensor.InHalves(name);
    }

    private static ReadOnlySpan<long> Trimmed(long[] dims) => dims.AsSpan().TrimEnd(1L);

    private static UserError Missing(IReadOnlyDictionary<string, Tensor> tensors, string name, long[] shape)
    {
        var parts = name.Split('.');
        var closest = tensors.Keys.OrderByDescending(k => k.Split('.').Zip(parts).TakeWhile(p => p.First == p.Second).Count()).ThenBy(k =>
            k, StringComparer.Ordinal).FirstOrDefault();
        return new UserError($"weight '{name}' [{string.Join(",", shape)}]: not among the checkpoint's {tensors.Count} tensors"
            + (closest is null ? "" : $" (closest: '{closest}')") + "; config.json and weights do not belong together");
    }
}
