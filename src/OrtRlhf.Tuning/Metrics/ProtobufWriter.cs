using System.Text;

namespace OrtRlhf.Tuning.Metrics;

/// <summary>Writes the five field kinds that TensorBoard's events need, in protocol buffers' wire format.</summary>
internal sealed class ProtobufWriter
{
    private readonly MemoryStream buffer = new();

    public ReadOnlySpan<byte> Written => buffer.GetBuffer().AsSpan(0, (int)buffer.Length);

    public ProtobufWriter Varint(int field, long value)
    {
        Tag(field, wire: 0);
        Raw((ulong)value);
        return this;
    }

    public ProtobufWriter Double(int field, double value)
    {
        Tag(field, wire: 1);
        buffer.Write(BitConverter.GetBytes(value));
        return this;
    }

    public ProtobufWriter Float(int field, float value)
    {
        Tag(field, wire: 5);
        buffer.Write(BitConverter.GetBytes(value));
        return this;
    }

    public ProtobufWriter Bytes(int field, ReadOnlySpan<byte> value)
    {
        Tag(field, wire: 2);
        Raw((ulong)value.Length);
        buffer.Write(value);
        return this;
    }

    public ProtobufWriter Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    public ProtobufWriter Message(int field, ProtobufWriter message) => Bytes(field, message.Written);

    private void Tag(int field, int wire) => Raw((ulong)(field << 3 | wire));

    private void Raw(ulong value)
    {
        for (; value >= 0x80; value >>= 7) buffer.WriteByte((byte)(value | 0x80));
        buffer.WriteByte((byte)value);
    }
}
