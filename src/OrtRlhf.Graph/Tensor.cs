using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace OrtRlhf.Graph;

/// <summary>
/// A dense tensor of constants, row-major, little endian. Its bytes are in memory, or are made when asked for (a weight that lies
/// in a file), so that a model larger than memory can be edited and streamed.
/// </summary>
public sealed class Tensor
{
    private readonly Func<byte[]> _bytes;

    /// <summary>Makes a tensor whose bytes are made when asked for, each time anew.</summary>
    /// <param name="type">Element type.</param>
    /// <param name="dims">Sizes, outermost first; none for a scalar.</param>
    /// <param name="bytes">Gives exactly the bytes of all elements.</param>
    public Tensor(ElementType type, IReadOnlyList<long> dims, Func<byte[]> bytes)
    {
        Type = type;
        Dims = [.. dims];
        Count = Dims.Aggregate(1L, (a, b) => checked(a * b));
        _bytes = bytes;
    }

    /// <summary>Makes a tensor from bytes in memory.</summary>
    /// <exception cref="UserError">The number of bytes is not that of the elements.</exception>
    public Tensor(ElementType type, IReadOnlyList<long> dims, byte[] bytes) : this(type, dims, () => bytes)
    {
        if (type != ElementType.String && bytes.Length != Count * type.SizeOf())
            throw new UserError($"tensor of {type} [{string.Join(",", dims)}]: expected {Count * type.SizeOf()} bytes, got {bytes.Length}");
        IsInMemory = true;
    }

    /// <summary>Element type.</summary>
    public ElementType Type { get; }

    /// <summary>Sizes, outermost first; empty for a scalar.</summary>
    public long[] Dims { get; }

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    /// <summary>Number of bytes.</summary>
    public long ByteLength => Count * Type.SizeOf();

    /// <summary>Whether the bytes are held in memory, so that reading them again costs nothing.</summary>
    public bool IsInMemory { get; }

    /// <summary>The shape.</summary>
    public Shape Shape => Shape.Of(Dims);

    /// <summary>A tensor of floats.</summary>
    public static Tensor Of(ReadOnlySpan<float> values, params ReadOnlySpan<long> dims) =>
        new(ElementType.Float, dims.ToArray(), MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A tensor of 64-bit integers.</summary>
    public static Tensor Of(ReadOnlySpan<long> values, params ReadOnlySpan<long> dims) =>
        new(ElementType.Int64, dims.ToArray(), MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A tensor of truth values.</summary>
    public static Tensor Of(ReadOnlySpan<bool> values, params ReadOnlySpan<long> dims) =>
        new(ElementType.Bool, dims.ToArray(), MemoryMarshal.AsBytes(values).ToArray());

    /// <summary>A list of 64-bit integers, as shapes and axes are given to operators.</summary>
    public static Tensor Vector(params ReadOnlySpan<long> values) => Of(values, values.Length);

    /// <summary>A scalar float.</summary>
    public static Tensor Scalar(float value) => Of([value]);

    /// <summary>A scalar 64-bit integer.</summary>
    public static Tensor Scalar(long value) => Of([value]);

    /// <summary>A scalar of a floating type.</summary>
    public static Tensor Scalar(ElementType type, double value) => type switch
    {
        ElementType.Float => Scalar((float)value),
        ElementType.Double => new(type, [], BitConverter.GetBytes(value)),
        ElementType.Float16 => new(type, [], BitConverter.GetBytes((Half)value)),
        ElementType.BFloat16 => new(type, [], BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits((float)value) >> 16))),
        ElementType.Int64 => Scalar((long)value),
        ElementType.Int32 => new(type, [], BitConverter.GetBytes((int)value)),
        _ => throw new UserError($"scalar of {type}: expected a number type"),
    };

    /// <summary>The bytes of all elements. Do not change them.</summary>
    public byte[] Bytes()
    {
        var bytes = _bytes();
        if (Type != ElementType.String && bytes.Length != ByteLength)
            throw new UserError($"tensor of {Type} [{string.Join(",", Dims)}]: expected {ByteLength} bytes, got {bytes.Length}");
        return bytes;
    }

    /// <summary>The elements as 32-bit floats, converted from any number type.</summary>
    public float[] ToFloats()
    {
        var result = new float[Count];
        ToFloats(result);
        return result;
    }

    private void ToFloats(Span<float> result)
    {
        var bytes = Bytes();
        switch (Type)
        {
            case ElementType.Float: bytes.CopyTo(MemoryMarshal.AsBytes(result)); break;
            case ElementType.Float16: TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(bytes), result); break;
            case ElementType.BFloat16:
                var halves = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var i = 0; i < result.Length; i++) result[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
                break;
            case ElementType.Double:
                TensorPrimitives.ConvertTruncating<double, float>(MemoryMarshal.Cast<byte, double>(bytes),
                result); break;
            default:
                var integers = ToInt64s();
                for (var i = 0; i < result.Length; i++) result[i] = integers[i];
                break;
        }
    }

    /// <summary>The elements of an integer or truth-value tensor as 64-bit integers (floats are truncated).</summary>
    public long[] ToInt64s()
    {
        var bytes = Bytes();
        var result = new long[Count];
        for (var i = 0; i < result.Length; i++)
        {
            result[i] = Type switch
            {
                ElementType.Int64 => BitConverter.ToInt64(bytes, i * 8),
                ElementType.UInt64 => (long)BitConverter.ToUInt64(bytes, i * 8),
                ElementType.Int32 => BitConverter.ToInt32(bytes, i * 4),
                ElementType.UInt32 => BitConverter.ToUInt32(bytes, i * 4),
                ElementType.Int16 => BitConverter.ToInt16(bytes, i * 2),
                ElementType.UInt16 => BitConverter.ToUInt16(bytes, i * 2),
                ElementType.UInt8 or ElementType.Bool => bytes[i],
                ElementType.Int8 => (sbyte)bytes[i],
                ElementType.Float => (long)BitConverter.ToSingle(bytes, i * 4),
                ElementType.Double => (long)BitConverter.ToDouble(bytes, i * 8),
                _ => throw new UserError($"tensor of {Type}: expected integers"),
            };
        }
        return result;
    }

    /// <summary>The same elements in another floating type, converted when asked for.</summary>
    public Tensor As(ElementType type)
    {
        if (type == Type) return this;
        return new Tensor(type, Dims, () =>
        {
            if (type == ElementType.Float)
            {
                var bytes = new byte[Count * sizeof(float)];
                ToFloats(MemoryMarshal.Cast<byte, float>(bytes.AsSpan()));
                return bytes;
            }
            var floats = ToFloats();
            switch (type)
            {
                case ElementType.Double:
                    var doubles = new double[floats.Length];
                    TensorPrimitives.ConvertTruncating<float, double>(floats, doubles);
                    return MemoryMarshal.AsBytes(doubles.AsSpan()).ToArray();
                case ElementType.Float16:
                    var halves = new byte[floats.Length * 2];
                    TensorPrimitives.ConvertToHalf(floats, MemoryMarshal.Cast<byte, Half>(halves.AsSpan()));
                    return halves;
                default: throw new UserError($"tensor of {Type}: cannot be converted to {type}; expected Float, Double or Float16");
            }
        });
    }

    /// <summary>A weight as Float16, converted when asked for; one beyond the largest half, 65504, is an error then.</summary>
    /// <param name="name">Its name, for the error.</param>
    public Tensor InHalves(string name) => Type == ElementType.Float16 ? this : new(ElementType.Float16, Dims, () =>
    {
        const ushort Infinity = 0x7C00, NegativeInfinity = 0xFC00;
        var halves = As(ElementType.Float16).Bytes();
        return MemoryMarshal.Cast<byte, ushort>(halves.AsSpan()).ContainsAny(Infinity, NegativeInfinity)
            ? throw new UserError($"weight '{name}': has numbers beyond 65504, the largest half; take the model in single precision")
            : halves;
    });

    /// <summary>The same elements under other sizes of the same count.</summary>
    public Tensor Reshaped(params ReadOnlySpan<long> dims) =>
        IsInMemory ? new(Type, dims.ToArray(), Bytes()) : new(Type, dims.ToArray(), _bytes);

    /// <summary>A matrix with its two axes exchanged, made when asked for.</summary>
    public Tensor Transposed()
    {
        if (Dims.Length != 2) throw new UserError($"tensor [{string.Join(",", Dims)}]: expected a matrix to transpose");
        int rows = (int)Dims[0], columns = (int)Dims[1], size = Type.SizeOf();
        return new Tensor(Type, [columns, rows], () =>
        {
            var source = Bytes();
            var target = new byte[source.Length];
            if (size == 4) Transpose(MemoryMarshal.Cast<byte, uint>(source.AsSpan()), MemoryMarshal.Cast<byte, uint>(target.AsSpan()));
            else if (size == 2) Transpose(MemoryMarshal.Cast<byte, ushort>(source.AsSpan()),
                MemoryMarshal.Cast<byte, ushort>(target.AsSpan()));
            else Transpose(MemoryMarshal.Cast<byte, ulong>(source.AsSpan()), MemoryMarshal.Cast<byte, ulong>(target.AsSpan()));
            return target;
        });

        void Transpose<T>(Span<T> source, Span<T> target)
        {
            const int Block = 32; // a block of rows and columns stays in the first-level cache
            for (var r0 = 0; r0 < rows; r0 += Block)
                for (var c0 = 0; c0 < columns; c0 += Block)
                    for (var r = r0; r < Math.Min(r0 + Block, rows); r++)
                        for (var c = c0; c < Math.Min(c0 + Block, columns); c++)
                            target[c * rows + r] = source[r * columns + c];
        }
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Type} [{string.Join(",", Dims)}]";
}
