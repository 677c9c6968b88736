using System.Runtime.InteropServices;
using Google.Protobuf;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Formats.Onnx;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Formats;

public sealed class OnnxFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("onnx-file-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string At(string name) => Path.Combine(_folder, name);

    public static TheoryData<string, double> Fixtures => new()
    {
        { "unet-opset17", 1e-5 }, { "unet-small-opset14", 1e-5 }, { "unet-linear-opset17", 1e-5 }, { "unet-small-fp16-opset17", 3e-3 },
    };

    [Theory]
    [MemberData(nameof(Fixtures))]
    public void Read_ModelOfPyTorchsExporter_WrittenAgain_MatchesReference(string name, double tolerance)
    {
        var golden = Golden.Tensors("torch", name, "golden.safetensors");
        var graph = OnnxFile.Read(Golden.At("torch", name, "model.onnx"));
        foreach (var prefix in new[] { "", "other." })
        {
            var inputs = graph.Inputs.Select(i => (i.Name, golden[prefix + i.Name].Type == ElementType.Float
                && i.Type == ElementType.Float16 ? golden[prefix + i.Name].As(i.Type) : golden[prefix + i.Name])).ToArray();
            Numbers.AssertClose(golden[prefix + "out_sample"], Ort.Run(graph, inputs)["out_sample"], tolerance);
        }
    }

    [Fact]
    public void Read_OpsetTwenty_GivesTheSameOutputAsOpsetFourteen()
    {
        var golden = Golden.Tensors("torch", "unet-small-opset14", "golden.safetensors");
        var graph = OnnxFile.Read(Golden.At("torch", "unet-small-opset20", "model.onnx"));
        Assert.Equal(20, graph.Opset);
        Numbers.AssertClose(golden["out_sample"],
            Ort.Run(graph, [.. graph.Inputs.Select(i => (i.Name, golden[i.Name]))])["out_sample"], 1e-5);
    }

    [Fact]
    public void Write_WithExternalData_IsAlignedAndReadLazily()
    {
        var graph = Small();
        graph.Metadata["method"] = "mse";
        OnnxFile.Write(graph, At("a/model.onnx"), externalData: true);
        Assert.True(new FileInfo(At("a/model.onnx")).Length < 4096);
        var model = ModelProto.Parser.ParseFrom(File.ReadAllBytes(At("a/model.onnx")));
        var outside = model.Graph.Initializer.Where(t => t.DataLocation == 1).ToList();
        Assert.Equal(["large", "w"], outside.Select(t => t.Name).Order());
        foreach (var tensor in outside)
        {
            var offset = long.Parse(tensor.ExternalData.Single(e => e.Key == "offset").Value);
            Assert.Equal(0, offset % (tensor.Name == "large" ? 65536 : 4096));
            Assert.Equal("model.onnx.data", tensor.ExternalData.Single(e => e.Key == "location").Value);
        }
        var again = OnnxFile.Read(At("a/model.onnx"));
        Assert.False(again["w"].Data!.IsInMemory);
        Assert.True(again["bias"].Data!.IsInMemory);
        Assert.Equal("mse", again.Metadata["method"]);
        var x = ("x", Numbers.Normal(3, 2, 24));
        var expected = Ort.Run(Small(), x)["y"].ToFloats();
        Assert.Equal(expected, Ort.Run(again, x)["y"].ToFloats());

        // Written over the very files it reads from: what was read keeps its weights.
        again["bias"].Data = Tensor.Of(new float[24], 24);
        OnnxFile.Write(again, At("a/model.onnx"), externalData: true);
        Assert.Equal(graph["w"].Data!.ToFloats(), again["w"].Data!.ToFloats());
        Assert.Equal(graph["w"].Data!.ToFloats(), OnnxFile.Read(At("a/model.onnx"))["w"].Data!.ToFloats());
        Assert.Equal(2, Directory.GetFiles(At("a")).Length);

        // ONNX Runtime finds the weights beside the file itself.
        using var options = Ort.Options();
        using var session = new Microsoft.ML.OnnxRuntime.InferenceSession(At("a/model.onnx"), options);
        Assert.NotEqual(expected, Ort.Run(session, x)["y"].ToFloats());
    }

    [Fact]
    public void Write_WeightsInside_AreStreamedIntoOneFile()
    {
        var written = new List<long>();
        var graph = Small();
        var streamed = graph.Constants.Select(c => c.Data!.ByteLength).Where(b => b >= 1024).ToList();
        OnnxFile.Write(graph, At("inside/model.onnx"), written: written.Add);
        Assert.Equal(streamed, written);
        Assert.NotEmpty(written);
        Assert.Equal(["model.onnx"], Directory.GetFiles(At("inside")).Select(Path.GetFileName));
        Assert.Equal(OnnxFile.ToBytes(Small()).Length, new FileInfo(At("inside/model.onnx")).Length);

        var x = ("x", Numbers.Normal(3, 2, 24));
        var expected = Ort.Run(Small(), x)["y"].ToFloats();
        Assert.Equal(expected, Ort.Run(OnnxFile.Read(At("inside/model.onnx")), x)["y"].ToFloats());
        using var options = Ort.Options();
        using var session = new Microsoft.ML.OnnxRuntime.InferenceSession(At("inside/model.onnx"), options);
        Assert.Equal(expected, Ort.Run(session, x)["y"].ToFloats());
    }

    [Fact]
    public void Write_PlaceThatCannotBeWritten_ThrowsOneLine()
    {
        File.WriteAllText(At("file"), "");
        var error = Assert.Throws<UserError>(() => OnnxFile.Write(Small(), At("file/model.onnx")));
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void Read_EveryTruncation_ThrowsOneLine()
    {
        var bytes = OnnxFile.ToBytes(Small(large: false));
        for (var length = 0; length < bytes.Length; length += length < 300 || length > bytes.Length - 300 ? 1 : 97)
        {
            // What remains may be a whole message that lacks the rest: then something else must be missing.
            var part = bytes[..length];
            if (Record.Exception(() => OnnxFile.Read(part)) is { } fault)
            {
                Assert.IsType<UserError>(fault);
                Assert.DoesNotContain('\n', fault.Message);
            }
            else
            {
                Assert.Fail($"the first {length} of {bytes.Length} bytes were taken for a model");
            }
        }
    }

    [Fact]
    [Trait(Soak.Trait, "damage")]
    public void Read_BytesChangedAtRandom_ThrowsNothingElse()
    {
        var bytes = OnnxFile.ToBytes(Small(large: false));
        var random = new Random(5);
        for (var i = 0; i < Soak.Times(3000, 300000); i++)
        {
            var bad = (byte[])bytes.Clone();
            for (var n = 0; n < 1 + (i % 3); n++) bad[random.Next(Math.Min(bad.Length, n == 0 ? bad.Length : 400))] =
                (byte)random.Next(256);
            if (Record.Exception(() => OnnxFile.Read(bad)) is { } fault) Assert.True(fault is UserError, fault.ToString());
        }
    }

    [Fact]
    public void Read_MissingFile_ThrowsUserError() =>
        Assert.Contains("no such file", Assert.Throws<UserError>(() => OnnxFile.Read(At("none.onnx"))).Message);

    [Fact]
    public void Read_DeepNesting_ThrowsUserError()
    {
        var graph = new GraphProto { Name = "leaf" };
        for (var i = 0; i < 200; i++)
        {
            var node = new NodeProto { OpType = "If" };
            node.Attribute.Add(new AttributeProto { Name = "then_branch", Type = AttributeType.Graph, G = graph });
            graph = new GraphProto { Name = $"level{i}" };
            graph.Node.Add(node);
        }
        Assert.Throws<UserError>(() => OnnxFile.Read(new ModelProto { IrVersion = 8, Graph = graph }.ToByteArray()));
    }

    [Theory]
    [InlineData("location", "/etc/hostname", "must lie in the model's folder")]
    [InlineData("location", "../secret.bin", "must lie in the model's folder")]
    [InlineData("location", "a/../../secret.bin", "must lie in the model's folder")]
    [InlineData("location", "..\\secret.bin", "must lie in the model's folder")]
    [InlineData("location", "C:\\secret.bin", "must lie in the model's folder")]
    [InlineData("location", "link.bin", "is a link")]
    [InlineData("location", "linked/secret.bin", "is a link")]
    [InlineData("location", "none.bin", "no file")]
    [InlineData("location", "", "without a location")]
    [InlineData("offset", "64", "truncated")]
    [InlineData("offset", "9223372036854775807", "truncated")]
    [InlineData("offset", "-1", "expected a number")]
    [InlineData("length", "12", "expected 16 bytes")]
    [InlineData("length", "99999999999999999999", "expected a number")]
    public void Read_HostileExternalData_ThrowsUserError(string key, string value, string expected)
    {
        Directory.CreateDirectory(At("outside"));
        Directory.CreateDirectory(At("model"));
        File.WriteAllBytes(At("secret.bin"), new byte[64]);
        File.WriteAllBytes(At("outside/secret.bin"), new byte[64]);
        File.WriteAllBytes(At("model/good.bin"), new byte[64]);
        File.CreateSymbolicLink(At("model/link.bin"), At("secret.bin"));
        Directory.CreateSymbolicLink(At("model/linked"), At("outside"));
        var place = new Dictionary<string, string> { ["location"] = "good.bin", ["offset"] = "16", ["length"] = "16" };
        OnnxFile.Read(External(place), folder: At("model"));
        place[key] = value;
        Assert.Contains(expected, Assert.Throws<UserError>(() => OnnxFile.Read(External(place), folder: At("model"))).Message);
    }

    [Fact]
    public void Read_BytesWithExternalData_ThrowsUserError() =>
        Assert.Contains("another file",
            Assert.Throws<UserError>(() => OnnxFile.Read(External(new() { ["location"] = "good.bin" }))).Message);

    [Theory]
    [InlineData(new long[] { 4611686018427387904, 4 })]
    [InlineData(new long[] { 1L << 40 })]
    [InlineData(new long[] { -4 })]
    [InlineData(new long[] { 5 })]
    public void Read_SizesThatDoNotFitTheData_ThrowsUserError(long[] dims)
    {
        var model = ModelProto.Parser.ParseFrom(External([]));
        var tensor = model.Graph.Initializer[0];
        (tensor.DataLocation, tensor.RawData) = (0, ByteString.CopyFrom(new byte[16]));
        tensor.Dims.Clear();
        tensor.Dims.AddRange(dims);
        Assert.Throws<UserError>(() => OnnxFile.Read(model.ToByteArray()));
    }

    [Fact]
    public void Read_BodyOfAnIf_SurvivesWithItsOuterValuesRenamed()
    {
        // y = x > 0 ? w + x : w * x, with the body reading w and a computed value from outside.
        var graph = new OnnxGraph("outer");
        var x = graph.Input("x", ElementType.Float, 1);
        graph.Constant(Tensor.Of([3f], 1), "w");
        graph.Output(Greater(x, graph.Scalar(ElementType.Float, 0)).Graph.Op("Squeeze", [graph.Nodes[0].Output]), "positive");
        var model = ModelProto.Parser.ParseFrom(OnnxFile.ToBytes(graph));
        model.Graph.Initializer.Add(new TensorProto
        {
            Name = "w",
            DataType = 1,
            Dims = { 1 },
            RawData = ByteString.CopyFrom(BitConverter.GetBytes(3f))
        });
        model.Graph.Node.Insert(0, new NodeProto { OpType = "Neg", Input = { "x" }, Output = { "minus" } });
        model.Graph.Node.Insert(1, new NodeProto { OpType = "Identity", Input = { "minus" }, Output = { "same" } });
        var choice = new NodeProto { OpType = "If", Input = { "positive" }, Output = { "y" } };
        foreach (var (name, op) in new[] { ("then_branch", "Add"), ("else_branch", "Mul") })
        {
            var body = new GraphProto { Name = name };
            body.Node.Add(new NodeProto { OpType = op, Input = { "w", "same" }, Output = { name + "_y" } });
            body.Output.Add(new ValueInfoProto
            {
                Name = name + "_y",
                Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } }
            });
            choice.Attribute.Add(new AttributeProto { Name = name, Type = AttributeType.Graph, G = body });
        }
        model.Graph.Node.Add(choice);
        model.Graph.Output.Clear();
        model.Graph.Output.Add(new ValueInfoProto
        {
            Name = "y",
            Type = new TypeProto { TensorType = new TypeProto.Types.Tensor { ElemType = 1 } }
        });

        var read = OnnxFile.Read(model.ToByteArray());
        read.Rename(read["w"], "weight");
        read.Redirect(read["same"], read["minus"]);
        read.RemoveUnused();
        Assert.Equal(4, read.Nodes.Count);
        Assert.Equal([1f], Ort.Run(read, ("x", Tensor.Of([2f], 1)))["y"].ToFloats());
        Assert.Equal([6f], Ort.Run(read, ("x", Tensor.Of([-2f], 1)))["y"].ToFloats());
    }

    [Fact]
    public void Read_NodesOutOfOrder_AreSorted()
    {
        var model = ModelProto.Parser.ParseFrom(OnnxFile.ToBytes(Small(large: false)));
        var nodes = model.Graph.Node.Reverse().ToList();
        model.Graph.Node.Clear();
        model.Graph.Node.AddRange(nodes);
        var x = ("x", Numbers.Normal(3, 2, 24));
        Assert.Equal(Ort.Run(Small(large: false), x)["y"].ToFloats(), Ort.Run(OnnxFile.Read(model.ToByteArray()), x)["y"].ToFloats());
    }

    [Theory]
    [InlineData(new long[] { -5, 2 }, "sizes that can be")]
    [InlineData(new long[] { 1L << 40, 1L << 40 }, "sizes that can be")]
    public void Read_ImpossibleShapeArithmetic_ThrowsUserError(long[] shape, string expected)
    {
        var graph = new OnnxGraph("reshape");
        graph.Output(graph.Op("Relu", [graph.Input("x", ElementType.Float, "batch")]), "y");
        var model = ModelProto.Parser.ParseFrom(OnnxFile.ToBytes(graph));
        model.Graph.Node[0].OpType = "Reshape";
        model.Graph.Node[0].Input.Add("shape");
        model.Graph.Initializer.Add(new TensorProto
        {
            Name = "shape",
            DataType = 7,
            Dims = { shape.Length },
            RawData = ByteString.CopyFrom([.. shape.SelectMany(BitConverter.GetBytes)])
        });
        Assert.Contains(expected, Assert.Throws<UserError>(() => OnnxFile.Read(model.ToByteArray())).Message);
    }

    [Fact]
    public void Read_PathsThatPyTorchKeepsAsMetadata_AreTheNodes()
    {
        var graph = new OnnxGraph("dynamo");
        var x = graph.Input("x", ElementType.Float, 2, 4);
        graph.Output(MatMul(MatMul(x, graph.Constant(Numbers.Normal(1, 4, 4), "val_1")),
            graph.Constant(Numbers.Normal(2, 4, 4), "val_2")), "y");
        var model = ModelProto.Parser.ParseFrom(OnnxFile.ToBytes(graph));
        for (var i = 0; i < 2; i++)
        {
            model.Graph.Node[i].Name = $"node_linear_{i}";
            model.Graph.Node[i].MetadataProps.Add(new StringStringEntryProto
            {
                Key = "pkg.torch.onnx.name_scopes",
                Value = $"['', 'mid_block', 'mid_block.attn{i}', 'mid_block.attn{i}.to_q', 'linear_{i}']"
            });
        }
        var read = OnnxFile.Read(model.ToByteArray());
        Assert.Equal("/mid_block.attn0.to_q/node_linear_0", read.Nodes[0].Name);
        Assert.Equal(["mid_block.attn0.to_q", "mid_block.attn1.to_q"],
            InjectLora.Apply(read, new LoraOptions { Targets = ["to_q"] }).Select(l => l.Path));
    }

    [Fact]
    public void Read_Pipe_ThrowsInsteadOfWaiting()
    {
        if (!OperatingSystem.IsLinux()) return;
        Directory.CreateDirectory(At("pipes"));
        foreach (var name in new[] { "pipes/good.bin", "pipes/model.onnx", "pipes/a.safetensors", "pipes/a.onnx_adapter" }) Assert.Equal(0,
            MakePipe(At(name), 0x180));
        var place = new Dictionary<string, string> { ["location"] = "good.bin", ["offset"] = "0", ["length"] = "16" };
        Assert.Contains("is empty", Assert.Throws<UserError>(() => OnnxFile.Read(External(place), folder: At("pipes"))).Message);
        Assert.Contains("is empty", Assert.Throws<UserError>(() => OnnxFile.Read(At("pipes/model.onnx"))).Message);
        Assert.Contains("truncated", Assert.Throws<UserError>(() => SafetensorsFile.Open(At("pipes/a.safetensors"))).Message);
        Assert.Contains("is empty", Assert.Throws<UserError>(() => OnnxAdapter.Read(At("pipes/a.onnx_adapter"))).Message);
    }

    [DllImport("libc", EntryPoint = "mkfifo")]
    private static extern int MakePipe([MarshalAs(UnmanagedType.LPStr)] string path, uint mode);

    [Fact]
    public void Read_Cycle_ThrowsUserError()
    {
        var model = new ModelProto { IrVersion = 8, OpsetImport = { new OperatorSetIdProto { Version = 17 } }, Graph = new GraphProto() };
        model.Graph.Node.Add(new NodeProto { OpType = "Neg", Input = { "a" }, Output = { "b" } });
        model.Graph.Node.Add(new NodeProto { OpType = "Neg", Input = { "b" }, Output = { "a" } });
        Assert.Contains("cycle", Assert.Throws<UserError>(() => OnnxFile.Read(model.ToByteArray())).Message);
    }

    private static OnnxGraph Small(bool large = true)
    {
        var graph = new OnnxGraph("small");
        var x = graph.Input("x", ElementType.Float, "batch", 24);
        var y = MatMul(x, graph.Constant(Numbers.Normal(1, 24, 24), "w")) + graph.Constant(Numbers.Normal(2, 24), "bias");
        if (large) y = y + Mean(graph.Constant(Numbers.Normal(4, 512, 512), "large"), keepDims: true);
        graph.Output(Relu(y), "y");
        return graph;
    }

    private static byte[] External(Dictionary<string, string> place)
    {
        var graph = new OnnxGraph("external");
        graph.Output(graph.Input("x", ElementType.Float, 4) + graph.Constant(Tensor.Of([1f, 2f, 3f, 4f], 4), "w"), "y");
        var model = ModelProto.Parser.ParseFrom(OnnxFile.ToBytes(graph));
        var tensor = model.Graph.Initializer[0];
        (tensor.RawData, tensor.DataLocation) = (ByteString.Empty, 1);
        foreach (var (key, value) in place) tensor.ExternalData.Add(new StringStringEntryProto { Key = key, Value = value });
        return model.ToByteArray();
    }
}
