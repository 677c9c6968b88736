using System.Buffers.Binary;

namespace OrtRlhf.Graph.Formats;

/// <summary>Writes a FlatBuffer front to back: references are reserved first and aimed when what they refer to is written.</summary>
internal sealed class FlatBuffer
{
    private readonly MemoryStream _bytes = new();

    private int Position => (int)_bytes.Position;

    /// <summary>Room for a reference.</summary>
    public int Reserve()
    {
        var place = Position;
        Number(0);
        return place;
    }

    /// <summary>A 32-bit number.</summary>
    public void Number(int value) => Bytes(BitConverter.GetBytes(value));

    /// <summary>Plain bytes.</summary>
    public void Bytes(ReadOnlySpan<byte> value) => _bytes.Write(value);

    /// <summary>Where a table's fields lie; fields of four bytes each.</summary>
    public int VirtualTable(params ReadOnlySpan<ushort> fields)
    {
        Pad(0, 4);
        var place = Position;
        foreach (var number in (ReadOnlySpan<ushort>)[(ushort)(4 + (2 * fields.Length)), (ushort)(fields[^1] + 4), .. fields]) Bytes(BitConverter.GetBytes(number));
        return place;
    }

    /// <summary>Begins a table; its fields follow.</summary>
    public void Table(int virtualTable) => Number(Position - virtualTable);

    /// <summary>Aims a reference at what is written next.</summary>
    public void Aim(int reference)
    {
        Pad(0, 4);
        var here = Position;
        _bytes.Position = reference;
        Number(here - reference);
        _bytes.Position = here;
    }

    /// <summary>Aims a reference at a vector whose elements are written next, aligned.</summary>
    public void AimVector(int reference, int count, int align)
    {
        Pad(4, align);
        Aim(reference);
        Number(count);
    }

    /// <summary>The whole buffer.</summary>
    public byte[] ToArray()
    {
        Pad(0, 8);
        return _bytes.ToArray();
    }

    private void Pad(int ahead, int align)
    {
        while ((Position + ahead) % align != 0) _bytes.WriteByte(0);
    }
}

/// <summary>A table in a FlatBuffer; every access is checked against the buffer's end (<see cref="ArgumentException"/>).</summary>
internal readonly struct FlatTable
{
    private readonly byte[] _bytes;
    private readonly int _place, _virtualTable;

    public FlatTable(byte[] bytes, int place)
    {
        _bytes = bytes;
        _place = place;
        _virtualTable = checked(place - Int32(place));
    }

    /// <summary>A 32-bit number; 0 where it is left out.</summary>
    public int Number(int field) => Field(field) is { } at ? Int32(at) : 0;

    /// <summary>The bytes of a vector's elements; none where it is left out.</summary>
    public ReadOnlySpan<byte> Vector(int field, int size)
    {
        if (Field(field) is not { } at) return [];
        var vector = checked(at + Int32(at));
        return _bytes.AsSpan(checked(vector + 4), checked(Int32(vector) * size));
    }

    /// <summary>The tables of a vector.</summary>
    public List<FlatTable> Tables(int field)
    {
        var tables = new List<FlatTable>();
        if (Field(field) is not { } at) return tables;
        var vector = checked(at + Int32(at));
        for (int i = 0, count = Int32(vector); i < count; i++)
        {
            var entry = checked(vector + 4 + (4 * i));
            tables.Add(new FlatTable(_bytes, checked(entry + Int32(entry))));
        }
        return tables;
    }

    private int? Field(int index)
    {
        var slot = 4 + (2 * index);
        if (slot >= UInt16(_virtualTable)) return null;
        var offset = UInt16(checked(_virtualTable + slot));
        return offset == 0 ? null : checked(_place + offset);
    }

    private int Int32(int at) => BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(at, 4));

    private int UInt16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(_bytes.AsSpan(at, 2));
}
