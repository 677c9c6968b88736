using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Formats;

public sealed class OnnxAdapterTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("onnx-adapter-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static OnnxAdapter Example => new(
    [
        ("unet.to_q.lora_A.weight", Numbers.Normal(1, 3, 6)), ("unet.to_q.lora_B.weight", Numbers.Normal(2, 8, 3)),
        ("unet.conv1.lora_A.weight", Numbers.Normal(3, 2, 4, 3, 3)), ("unet.conv1.lora_B.weight", Numbers.Normal(4, 5, 2, 1, 1)),
        ("unet.to_out.0.lora_A.weight", Numbers.Normal(5, 1, 7).As(ElementType.Float16)),
            ("unet.to_out.0.lora_B.weight", Numbers.Normal(6, 2, 1).As(ElementType.Float16)),
    ], AdapterVersion: 7, ModelVersion: 9);

    [Fact]
    public void Read_WhatWasWritten_IsTheSame()
    {
        var path = Path.Combine(_folder, "a.onnx_adapter");
        Example.Write(path);
        var read = OnnxAdapter.Read(path);
        Assert.Equal((7, 9), (read.AdapterVersion, read.ModelVersion));
        Assert.Equal(Example.Parameters.Select(p => (p.Name, p.Data.Type)), read.Parameters.Select(p => (p.Name, p.Data.Type)));
        foreach (var (expected, actual) in Example.Parameters.Zip(read.Parameters))
        {
            Assert.Equal(expected.Data.Dims, actual.Data.Dims);
            Assert.Equal(expected.Data.Bytes(), actual.Data.Bytes());
        }
        Assert.Single(Directory.GetFiles(_folder));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Write_LoadedByOnnxRuntime_ChangesTheOutputAsBindingTheTensorsDoes(bool fromFile)
    {
        var graph = new OnnxGraph("shipped");
        var x = graph.Input("x", ElementType.Float, "batch", 6);
        var image = graph.Input("image", ElementType.Float, "batch", 4, "height", "width");
        using (graph.Scope("to_q")) graph.Output(MatMul(x, graph.Constant(Numbers.Normal(10, 6, 8))), "y");
        using (graph.Scope("conv1")) graph.Output(Conv(image, graph.Constant(Numbers.Normal(11, 5, 4, 3, 3)), null, 1, [1, 1, 1, 1]), "z");
        InjectLora.Apply(graph, new LoraOptions { Targets = ["to_q", "conv1"], AnyRank = true });
        var adapter = Example with { Parameters = [.. Example.Parameters.Take(4)] };
        var path = Path.Combine(_folder, "b.onnx_adapter");
        adapter.Write(path);

        using var options = Ort.Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
        using var loaded = fromFile ? OrtLoraAdapter.Create(path, null) : OrtLoraAdapter.Create(File.ReadAllBytes(path), null);
        using var run = new RunOptions();
        run.AddActiveLoraAdapter(loaded);
        (string, Tensor)[] inputs = [("x", Numbers.Normal(12, 3, 6)), ("image", Numbers.Normal(13, 3, 4, 5, 5))];
        var (active, bound, plain) = (Ort.Run(session, run, inputs), Ort.Run(session, [.. inputs, .. adapter.Parameters]),
            Ort.Run(session, inputs));
        foreach (var output in new[] { "y", "z" })
        {
            Assert.Equal(bound[output].ToFloats(), active[output].ToFloats());
            Assert.True(Numbers.Error(active[output], plain[output]) > 0.1, "the adapter must change the output");
        }
    }

    [Fact]
    public void Validate_HalfAnAdapter_ThrowsForTheMissingHalf()
    {
        var half = Example with { Parameters = [.. Example.Parameters.Skip(1)] };
        Assert.Contains("without 'unet.to_q.lora_A.weight'", Assert.Throws<UserError>(() => half.ToBytes()).Message);
    }

    [Fact]
    public void Validate_RanksDiffer_Throws() => Assert.Contains("got Float [3,6] and Float [8,2]", Assert.Throws<UserError>(() =>
        new OnnxAdapter([("q.lora_A.weight", Numbers.Normal(1, 3, 6)), ("q.lora_B.weight", Numbers.Normal(2, 8, 2))]).Validate()).Message);

    [Fact]
    [Trait(Soak.Trait, "damage")]
    public void Read_EveryTruncationAndDamage_ThrowsNothingButUserError()
    {
        var bytes = Example.ToBytes();
        for (var length = 0; length < bytes.Length - 8; length += 3) Assert.Throws<UserError>(() => OnnxAdapter.Read(bytes[..length]));
        var random = new Random(3);
        for (var i = 0; i < Soak.Times(2000, 200000); i++)
        {
            var bad = (byte[])bytes.Clone();
            bad[random.Next(bad.Length)] = (byte)random.Next(256);
            if (Record.Exception(() => OnnxAdapter.Read(bad)) is { } fault) Assert.True(fault is UserError, fault.ToString());
        }
    }

    [Fact]
    public void Read_OneTensorToldManyTimes_ThrowsBeforeMemoryRunsOut()
    {
        // Every entry of the list aims at one table, whose data is the file's; as copies they would be a thousand times the file.
        var bytes = new OnnxAdapter([.. Enumerable.Range(0, 1000).Select(i =>
            ($"t{i}", i == 0 ? Numbers.Normal(1, 50_000) : Tensor.Of([1f], 1)))]).ToBytes();
        var root = BitConverter.ToInt32(bytes);
        var list = root + 16 + BitConverter.ToInt32(bytes, root + 16);
        var first = list + 4 + BitConverter.ToInt32(bytes, list + 4);
        for (var i = 0; i < 1000; i++) BitConverter.TryWriteBytes(bytes.AsSpan(list + 4 + (4 * i)), first - (list + 4 + (4 * i)));
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Contains("damaged", Assert.Throws<UserError>(() => OnnxAdapter.Read(bytes)).Message);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 5_000_000);
    }

    [Fact]
    public void Read_MissingOrOtherFile_ThrowsUserError()
    {
        Assert.Contains("cannot be read", Assert.Throws<UserError>(() => OnnxAdapter.Read(Path.Combine(_folder, "none"))).Message);
        Assert.Contains("not an .onnx_adapter file", Assert.Throws<UserError>(() => OnnxAdapter.Read(new byte[64])).Message);
    }
}
