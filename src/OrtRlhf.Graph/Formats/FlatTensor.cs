using Google.FlatBuffers;

namespace OrtRlhf.Graph.Formats;

/// <summary>
/// A tensor in ONNX Runtime's FlatBuffers: a table of name: string, dims: [int64], data_type: int32 and raw_data: [uint8], under its
/// schema's numbers of fields. What is read is checked against the buffer's end at each access (<see cref="ArgumentException"/>, <see
/// cref="OverflowException"/>), and not by Google.FlatBuffers' Verifier: 25.2.10 keeps places in 16 bits, refuses whole files beyond 32 KB,
/// prints to the console, and takes any identifier.
/// </summary>
internal sealed record FlatTensor(int Name, int Dims, int Type, int Data)
{
    private const int Align = 64;

    /// <summary>A writer with room for tensors.</summary>
    /// <exception cref="UserError">They are larger than 2 GB: names <paramref name="what"/> and a remedy.</exception>
    public static FlatBufferBuilder Builder(IReadOnlyList<(string Name, Tensor Data)> tensors, string what)
    {
        // The most that names (UTF-8, each letter three bytes), tables and gaps can take; a buffer that has to grow could not beyond 1 GB.
        var size = tensors.Sum(t => t.Data.ByteLength + (3L * t.Name.Length) + (8L * t.Data.Dims.Length) + 256) + 256;
        return size <= Array.MaxLength ? new FlatBufferBuilder((int)size) : throw new UserError(what);
    }

    /// <summary>Writes tensors and the vector of them.</summary>
    public VectorOffset Write(FlatBufferBuilder file, IReadOnlyList<(string Name, Tensor Data)> tensors)
    {
        var tables = tensors.Select(t => Write(file, t.Name, t.Data)).ToArray();
        file.StartVector(sizeof(int), tables.Length, sizeof(int));
        foreach (var table in tables.Reverse()) file.AddOffset(table);
        return file.EndVector();
    }

    private int Write(FlatBufferBuilder file, string name, Tensor tensor)
    {
        var nameAt = file.CreateString(name).Value;
        var dimsAt = Vector(tensor.Dims, sizeof(long), sizeof(long));
        var dataAt = Vector(tensor.Bytes(), 1, Align);
        file.StartTable(1 + Math.Max(Math.Max(Name, Dims), Math.Max(Type, Data)));
        file.AddOffset(Data, dataAt, 0);
        file.AddInt(Type, (int)tensor.Type, 0);
        file.AddOffset(Dims, dimsAt, 0);
        file.AddOffset(Name, nameAt, 0);
        return file.EndTable();

        int Vector<T>(T[] values, int size, int align) where T : struct
        {
            file.StartVector(size, values.Length, align);
            file.Put(values);
            return file.EndVector().Value;
        }
    }

    /// <summary>Reads a tensor. Parts of a damaged file may be told many times over: together they must not be larger than it.</summary>
    /// <param name="table">The table.</param>
    /// <param name="room">Bytes that may still be copied; what this takes is taken off.</param>
    public (string Name, int Type, long[] Dims, byte[] Data) Read(Table table, ref long room)
    {
        var (name, dims, data) = (Vector(table, Name), Vector(table, Dims), Vector(table, Data));
        room -= name.Count + ((long)dims.Count * sizeof(long)) + data.Count;
        if (room < 0) throw new OverflowException();
        var buffer = table.bb;
        long[] sizes = [.. Enumerable.Range(0, dims.Count).Select(i => buffer.GetLong(dims.Start + (sizeof(long) * i)))];
        return (buffer.GetStringUTF8(name.Start, name.Count), Number(table, Type), sizes, buffer.ToArray(data.Start, data.Count));
    }

    /// <summary>A 32-bit number of a table; 0 where it is left out.</summary>
    public static int Number(Table table, int field) =>
        table.__offset(Slot(field)) is var at and not 0 ? table.bb.GetInt(table.bb_pos + at) : 0;

    /// <summary>The tables of a vector; none where it is left out.</summary>
    public static IEnumerable<Table> Tables(Table table, int field)
    {
        var (start, count) = Vector(table, field);
        for (var i = 0; i < count; i++) yield return new Table(table.__indirect(start + (sizeof(int) * i)), table.bb);
    }

    // A string is one, too.
    private static (int Start, int Count) Vector(Table table, int field) =>
        table.__offset(Slot(field)) is var at and not 0 ? (table.__vector(at), checked((int)(uint)table.__vector_len(at))) : (0, 0);

    private static int Slot(int field) => 4 + (2 * field);
}
