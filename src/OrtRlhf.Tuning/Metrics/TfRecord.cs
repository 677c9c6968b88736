using System.Buffers.Binary;
using System.Numerics;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>
/// TFRecord framing, as TensorBoard's event files use it: length (uint64, little endian), masked CRC-32C of the length, data, masked
/// CRC-32C of the data. <c>mask(c) = ((c >> 15) | (c &lt;&lt; 17)) + 0xa282ead8</c>.
/// </summary>
public static class TfRecord
{
    /// <summary>Appends a record.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="data">The record.</param>
    public static void Write(Stream stream, ReadOnlySpan<byte> data)
    {
        var record = new byte[16 + data.Length];
        BinaryPrimitives.WriteUInt64LittleEndian(record, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), Mask(Crc32C(record.AsSpan(0, 8))));
        data.CopyTo(record.AsSpan(12));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12 + data.Length), Mask(Crc32C(data)));
        stream.Write(record);
    }

    /// <summary>Reads the next record; null at the end.</summary>
    /// <param name="stream">Where from.</param>
    /// <exception cref="InvalidDataException">A checksum is wrong, or the record is cut off.</exception>
    public static byte[]? Read(Stream stream)
    {
        var head = new byte[12];
        var got = stream.ReadAtLeast(head, 12, throwOnEndOfStream: false);
        if (got == 0) return null;
        if (got < 12) throw new InvalidDataException("The record's head is cut off.");
        Check(head.AsSpan(0, 8), head.AsSpan(8));
        var body = new byte[checked((int)BinaryPrimitives.ReadUInt64LittleEndian(head)) + 4];
        if (stream.ReadAtLeast(body, body.Length,
            throwOnEndOfStream: false) < body.Length) throw new InvalidDataException("The record is cut off.");
        Check(body.AsSpan(0, body.Length - 4), body.AsSpan(body.Length - 4));
        return body[..^4];
    }

    /// <summary>CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 B.4).</summary>
    /// <param name="data">The bytes.</param>
    public static uint Crc32C(ReadOnlySpan<byte> data)
    {
        var crc = 0xFFFFFFFF;
        for (; data.Length >= 8; data = data[8..]) crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(data));
        foreach (var value in data) crc = BitOperations.Crc32C(crc, value);
        return ~crc;
    }

    private static uint Mask(uint crc) => BitOperations.RotateRight(crc, 15) + 0xA282EAD8;

    private static void Check(ReadOnlySpan<byte> data, ReadOnlySpan<byte> stored)
    {
        if (Mask(Crc32C(data)) != BinaryPrimitives.ReadUInt32LittleEndian(stored)) throw new InvalidDataException(
            "The record's checksum is wrong.");
    }
}
