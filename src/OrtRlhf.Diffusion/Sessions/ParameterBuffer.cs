using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;

namespace OrtRlhf.Diffusion.Sessions;

/// <summary>
/// Named float tensors that lie one behind the other in a single pinned array: an optimizer step is one pass over a span, and sessions bind
/// the tensors where they lie.
/// </summary>
public sealed class ParameterBuffer : IDisposable
{
    private readonly float[] _data;
    private readonly Dictionary<string, (int Offset, long[] Shape, OrtValue Value)> _entries = new(StringComparer.Ordinal);

    /// <summary>Makes a buffer of zeros for the given names and shapes, in their order.</summary>
    public ParameterBuffer(params IReadOnlyList<(string Name, long[] Shape)> layout)
    {
        Layout = layout;
        const int Align = 16; // every tensor begins on a 64-byte line
        var total = layout.Sum(p => (Count(p.Shape) + Align - 1) / Align * Align);
        _data = GC.AllocateArray<float>(checked((int)total), pinned: true);
        var offset = 0;
        foreach (var (name, shape) in layout)
        {
            var memory = new Memory<float>(_data, offset, Count(shape));
            _entries.Add(name, (offset, shape, OrtValue.CreateTensorValueFromMemory(OrtMemoryInfo.DefaultInstance, memory, shape)));
            offset += (Count(shape) + Align - 1) / Align * Align;
        }
    }

    /// <summary>Names and shapes, in order.</summary>
    public IReadOnlyList<(string Name, long[] Shape)> Layout { get; }

    /// <summary>Names, in order.</summary>
    public IEnumerable<string> Names => Layout.Select(p => p.Name);

    /// <summary>Number of parameters, without the padding between them.</summary>
    public long Count() => Layout.Sum(p => (long)Count(p.Shape));

    /// <summary>All elements; those between tensors are padding and stay zero.</summary>
    public Span<float> All => _data;

    /// <summary>The elements of a tensor.</summary>
    public Span<float> this[string name] => _data.AsSpan(Entry(name).Offset, Count(Entry(name).Shape));

    /// <summary>A tensor, bound where it lies.</summary>
    public OrtValue Value(string name) => Entry(name).Value;

    /// <summary>A buffer of zeros with the same layout.</summary>
    public ParameterBuffer Like() => new(Layout);

    /// <summary>Copies of all tensors by name.</summary>
    public Dictionary<string, Tensor> ToTensors() => Layout.ToDictionary(p => p.Name, p => Tensor.Of(this[p.Name], p.Shape));

    /// <summary>Remembers all elements, and puts them back when the result is disposed: for running something with other ones.</summary>
    public Kept Keep() => new(this);

    /// <summary>Sets all tensors from a function of their names and shapes.</summary>
    /// <exception cref="UserError">A tensor has another shape.</exception>
    public void Load(Func<string, long[], Tensor> source)
    {
        foreach (var (name, shape) in Layout)
        {
            var tensor = source(name, shape);
            if (!tensor.Dims.AsSpan()
                .SequenceEqual(shape)) throw new UserError($"parameter '{name}': expected shape [{string.Join(",", shape)}], got {tensor}");
            tensor.ToFloats().CopyTo(this[name]);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var entry in _entries.Values) entry.Value.Dispose();
    }

    private (int Offset, long[] Shape, OrtValue Value) Entry(string name) => _entries.TryGetValue(name, out var entry)
        ? entry
        : throw new UserError(
            $"no parameter named '{name}'; the buffer has {_entries.Count}, the first is '{Layout.FirstOrDefault().Name}'");

    private static int Count(long[] shape) => checked((int)shape.Aggregate(1L, (a, b) => a * b));

    /// <summary>The elements of a buffer as they were.</summary>
    public sealed class Kept : IDisposable
    {
        private readonly ParameterBuffer _buffer;
        private readonly float[] _values;

        internal Kept(ParameterBuffer buffer) => (_buffer, _values) = (buffer, buffer.All.ToArray());

        /// <summary>What is put back.</summary>
        public ReadOnlySpan<float> Values => _values;

        /// <inheritdoc/>
        public void Dispose() => _values.CopyTo(_buffer.All);
    }
}
