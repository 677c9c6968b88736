using System.Text;
using OrtRlhf.Diffusion.Images;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Metrics;

public sealed class TensorBoardLogTests
{
    [Fact]
    public void Crc32C_KnownAnswers() // RFC 3720, B.4
    {
        Assert.Equal(0x8A9136AAu, TfRecord.Crc32C(new byte[32]));
        Assert.Equal(0x62A8AB43u, TfRecord.Crc32C([.. Enumerable.Repeat((byte)0xFF, 32)]));
        Assert.Equal(0x46DD794Eu, TfRecord.Crc32C([.. Enumerable.Range(0, 32).Select(i => (byte)i)]));
        Assert.Equal(0xE3069283u, TfRecord.Crc32C("123456789"u8));
        Assert.Equal(0u, TfRecord.Crc32C([]));
    }

    [Fact]
    public void TfRecord_ChangedOrCutOff_Throws()
    {
        var stream = new MemoryStream();
        TfRecord.Write(stream, "hello"u8);
        var bytes = stream.ToArray();
        Assert.Equal(21, bytes.Length);
        for (var i = 0; i < bytes.Length; i++)
        {
            var changed = (byte[])bytes.Clone();
            changed[i] ^= 1;
            Assert.Throws<InvalidDataException>(() => TfRecord.Read(new MemoryStream(changed)));
            if (i > 0) Assert.Throws<InvalidDataException>(() => TfRecord.Read(new MemoryStream(bytes[..i])));
        }
        Assert.Equal("hello"u8.ToArray(), TfRecord.Read(new MemoryStream(bytes)));
    }

    [Fact]
    public void Log_ParsedBack_GivesScalarsAndImages()
    {
        using var folder = new TempFolder();
        var image = NoiseImage.Of(9, 5, 1);
        string path;
        using (var log = TensorBoardLog.Open(folder.At("tensorboard"), clock: () => DateTimeOffset.UnixEpoch.AddSeconds(1_700_000_000.25)))
        {
            path = log.Path;
            log.Scalars(300, [("reward/mean", -1.5), ("train/loss", 0.25), ("train/kl", 0)]);
            log.Image(301, "samples/grid", image);
        }
        Assert.Equal("events.out.tfevents.1700000000.ortrlhf.0000", Path.GetFileName(path));

        var events = Events(path);
        Assert.Equal(3, events.Count);
        Assert.Equal(1_700_000_000.25, BitConverter.ToDouble(events[0][1][0]));
        Assert.Equal("brain.Event:2", Encoding.UTF8.GetString(events[0][3][0]));
        Assert.Equal(300L, BitConverter.ToInt64(events[1][2][0]));
        var values = Fields(events[1][5][0])[1].Select(Fields).ToArray();
        Assert.Equal([("reward/mean", -1.5f), ("train/loss", 0.25f), ("train/kl", 0f)],
            values.Select(value => (Encoding.UTF8.GetString(value[1][0]), BitConverter.ToSingle(value[2][0]))));
        var shown = Fields(Fields(events[2][5][0])[1][0]);
        Assert.Equal("samples/grid", Encoding.UTF8.GetString(shown[1][0]));
        var encoded = Fields(shown[4][0]);
        Assert.Equal([5L, 9L, 3L], new[] { 1, 2, 3 }.Select(field => BitConverter.ToInt64(encoded[field][0])));
        Assert.True(image.SameAs(ImageCodec.Decode(encoded[4][0])));
    }

    [Fact]
    public void Open_AfterEpoch_AddsAFileThatRestartsThere()
    {
        using var folder = new TempFolder();
        using (var log = TensorBoardLog.Open(folder.Path)) log.Scalars(JsonLinesTests.Epoch(1));
        string path;
        using (var log = TensorBoardLog.Open(folder.Path, afterEpoch: 1)) path = log.Path;
        Assert.Equal(2, Directory.GetFiles(folder.Path).Length);
        var restart = Events(path)[1];
        Assert.Equal(2L, BitConverter.ToInt64(restart[2][0]));
        Assert.Equal(1L, BitConverter.ToInt64(Fields(restart[7][0])[1][0]));
        using (TensorBoardLog.Open(folder.Path)) Assert.Single(Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void Scalars_OfAnEpoch_LeaveOutWhatIsNull()
    {
        using var folder = new TempFolder();
        string path;
        using (var log = TensorBoardLog.Open(folder.Path))
        {
            path = log.Path;
            log.Scalars(JsonLinesTests.Epoch(2));
        }
        var tags = Fields(Events(path)[1][5][0])[1].Select(value => Encoding.UTF8.GetString(Fields(value)[1][0])).ToArray();
        Assert.Contains("rewards/z", tags);
        Assert.Contains("train/a+b", tags);
        Assert.DoesNotContain("train/kl", tags);
    }

    private static List<Dictionary<int, List<byte[]>>> Events(string path)
    {
        using var stream = File.OpenRead(path);
        var events = new List<Dictionary<int, List<byte[]>>>();
        while (TfRecord.Read(stream) is { } record) events.Add(Fields(record));
        return events;
    }

    // A reader of its own: field number to the raw bytes of each occurrence, varints as 8 bytes.
    private static Dictionary<int, List<byte[]>> Fields(byte[] message)
    {
        var fields = new Dictionary<int, List<byte[]>>();
        for (var at = 0; at < message.Length;)
        {
            var tag = Varint();
            var value = (tag & 7) switch
            {
                0 => BitConverter.GetBytes(Varint()),
                1 => Take(8),
                2 => Take((int)Varint()),
                5 => Take(4),
                var wire => throw new InvalidDataException($"wire type {wire}"),
            };
            fields.TryAdd((int)(tag >> 3), []);
            fields[(int)(tag >> 3)].Add(value);

            long Varint()
            {
                long result = 0;
                for (var shift = 0; ; shift += 7)
                {
                    var next = message[at++];
                    result |= (long)(next & 0x7F) << shift;
                    if (next < 0x80) return result;
                }
            }

            byte[] Take(int length)
            {
                at += length;
                return message[(at - length)..at];
            }
        }
        return fields;
    }
}
