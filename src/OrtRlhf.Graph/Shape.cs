namespace OrtRlhf.Graph;

/// <summary>One dimension: a number, or a symbol such as <c>batch</c> whose number is known when the model runs.</summary>
/// <param name="Size">The number, or -1 for a symbol.</param>
/// <param name="Symbol">The symbol's name; null for a number.</param>
public readonly record struct Dim(long Size, string? Symbol)
{
    /// <summary>Whether the number is known.</summary>
    public bool IsKnown => Symbol is null;

    /// <summary>A known dimension.</summary>
    public static implicit operator Dim(long size) => new(size, null);

    /// <summary>A symbolic dimension.</summary>
    public static implicit operator Dim(string symbol) => new(-1, symbol);

    /// <inheritdoc/>
    public override string ToString() => Symbol ?? Size.ToString();
}

/// <summary>The dimensions of a tensor, outermost first; a scalar has none.</summary>
public sealed class Shape : IEquatable<Shape>
{
    private readonly Dim[] _dims;

    /// <summary>Makes a shape of dimensions.</summary>
    public Shape(params IEnumerable<Dim> dims) => _dims = [.. dims];

    /// <summary>The shape of a scalar.</summary>
    public static Shape Scalar { get; } = new();

    /// <summary>A shape of known numbers.</summary>
    public static Shape Of(params ReadOnlySpan<long> dims)
    {
        var result = new Dim[dims.Length];
        for (var i = 0; i < dims.Length; i++) result[i] = dims[i];
        return new Shape(result);
    }

    /// <summary>Number of dimensions.</summary>
    public int Rank => _dims.Length;

    /// <summary>The dimension at an axis; negative axes count from the end.</summary>
    public Dim this[int axis] => _dims[axis < 0 ? axis + _dims.Length : axis];

    /// <summary>All dimensions.</summary>
    public ReadOnlySpan<Dim> Dims => _dims;

    /// <summary>Whether every dimension's number is known.</summary>
    public bool IsStatic => _dims.All(d => d.IsKnown);

    /// <summary>The numbers of a static shape.</summary>
    /// <exception cref="InvalidOperationException">A dimension is symbolic.</exception>
    public long[] Sizes => IsStatic ? [.. _dims.Select(d => d.Size)] : throw new InvalidOperationException($"shape {this} is not static");

    /// <summary>Number of elements of a static shape.</summary>
    public long Count => Sizes.Aggregate(1L, (a, b) => checked(a * b));

    /// <summary>An axis counted from the front.</summary>
    public int Axis(long axis) => (int)(axis < 0 ? axis + Rank : axis);

    /// <summary>The same shape with one dimension changed.</summary>
    public Shape With(int axis, Dim dim)
    {
        var dims = (Dim[])_dims.Clone();
        dims[Axis(axis)] = dim;
        return new Shape(dims);
    }

    /// <inheritdoc/>
    public bool Equals(Shape? other) => other is not null && _dims.AsSpan().SequenceEqual(other._dims);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Shape);

    /// <inheritdoc/>
    public override int GetHashCode() => _dims.Aggregate(17, HashCode.Combine);

    /// <inheritdoc/>
    public override string ToString() => $"[{string.Join(",", _dims)}]";
}
