using Google.FlatBuffers;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Graph.Tests.Formats;

public sealed class OrtTrainingCheckpointTests
{
    [Fact]
    public void ToBytes_ReadBackBySchema_HasVersionAndTrainedParameters()
    {
        (string Name, Tensor Data)[] parameters = [("q.lora_A.weight", Numbers.Normal(1, 3, 6)),
            ("q.lora_B.weight", Numbers.Normal(2, 8, 3).As(ElementType.Float16))];
        var buffer = new ByteBuffer(new OrtTrainingCheckpoint(parameters).ToBytes());
        Assert.True(Table.__has_identifier(buffer, "ODTC"));
        var checkpoint = new Table(buffer.GetInt(0), buffer);
        Assert.Equal(2, FlatTensor.Number(checkpoint, 0));
        var module = new Table(checkpoint.__indirect(checkpoint.bb_pos + checkpoint.__offset(6)), buffer);
        long room = buffer.Length;
        foreach (var (expected, table) in parameters.Zip(FlatTensor.Tables(module, 0), (e, t) => (e, t)))
        {
            var (name, type, dims, data) = new FlatTensor(Name: 0, Dims: 2, Type: 3, Data: 4).Read(table, ref room);
            Assert.Equal((expected.Name, (int)expected.Data.Type), (name, type));
            Assert.Equal(expected.Data.Dims, dims);
            Assert.Equal(expected.Data.Bytes(), data);
            Assert.Equal(0, table.__offset(6)); // no doc string
            Assert.Equal(0, table.__vector(table.__offset(12)) % 64);
        }
        Assert.Equal((2, 0), (FlatTensor.Tables(module, 0).Count(), FlatTensor.Tables(module, 1).Count()));
        Assert.NotEqual(0, module.__offset(6)); // an empty list, not none
    }
}
