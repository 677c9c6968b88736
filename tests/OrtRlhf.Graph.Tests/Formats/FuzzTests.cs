using System.Text;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Formats;

/// <summary>Every parser, on files damaged at random: taken or refused in one line, nothing else.</summary>
public sealed class FuzzTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fuzz-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Onnx_Damaged_IsTakenOrRefusedInOneLine() => Damage.Survives(Model(), 3000, bytes => OnnxFile.Read(bytes));

    [Fact]
    public void Onnx_DamagedAndThenFolded_IsTakenOrRefusedInOneLine() => Damage.Survives(Model(), 2000, bytes =>
    {
        var graph = OnnxFile.Read(bytes);
        RaiseOpset.Apply(graph);
        FreezeShapes.Apply(graph, FreezeShapes.Symbols(graph).Select(s => (s, 2L)));
        FoldConstants.Apply(graph);
        RecognizeComposites.Apply(graph);
    });

    [Fact]
    public void Safetensors_Damaged_IsTakenOrRefusedInOneLine()
    {
        var path = Path.Combine(_folder, "a.safetensors");
        SafetensorsFile.Write(path, Tensors(), new Dictionary<string, string> { ["format"] = "pt" });
        Damage.Survives(File.ReadAllBytes(path), 1000, bytes =>
        {
            var damaged = Path.Combine(_folder, "b.safetensors");
            File.WriteAllBytes(damaged, bytes);
            foreach (var (_, tensor) in SafetensorsFile.Open(damaged).Tensors) tensor.Bytes();
        });
    }

    [Fact]
    public void SafetensorsIndex_Damaged_IsTakenOrRefusedInOneLine()
    {
        SafetensorsFile.Write(Path.Combine(_folder, "one.safetensors"), Tensors());
        var index = """{"metadata":{"total_size":76},"weight_map":{"a":"one.safetensors","b.weight":"one.safetensors"}}""";
        Damage.Survives(Encoding.UTF8.GetBytes(index), 1000, bytes =>
        {
            var damaged = Path.Combine(_folder, "model.safetensors.index.json");
            File.WriteAllBytes(damaged, bytes);
            SafetensorsFile.Open(damaged);
        });
    }

    [Fact]
    public void OnnxAdapter_Damaged_IsTakenOrRefusedInOneLine() => Damage.Survives(
        new OnnxAdapter([("q.lora_A.weight", Numbers.Normal(1, 2, 3)), ("q.lora_B.weight", Numbers.Normal(2, 4, 2))]).ToBytes(), 3000,
            bytes => OnnxAdapter.Read(bytes));

    private static Dictionary<string, Tensor> Tensors() => new()
    {
        ["a"] = Numbers.Normal(1, 3, 5),
        ["b.weight"] = Numbers.Normal(2, 2, 2).As(ElementType.Float16),
        ["none"] = Tensor.Vector()
    };

    /// <summary>A model with shape arithmetic, attributes of all kinds, a convolution and constants in nodes.</summary>
    private static byte[] Model()
    {
        var graph = new OnnxGraph("fuzzed");
        var x = graph.Input("x", ElementType.Float, "batch", 4, "height", 6);
        var y = Conv(x, graph.Constant(Numbers.Normal(1, 4, 4, 3, 3), "conv.weight"), graph.Constant(Numbers.Normal(2, 4)), 1,
            [1, 1, 1, 1]);
        var shape = graph.Op("Shape", [y]);
        var size = graph.Op("Slice", [shape, Vector(0), Vector(2)]);
        y = graph.Op("Reshape", [y, graph.Op("Concat", [size, Vector(-1)], ("axis", 0L))]);
        y = Softmax(MatMul(graph.Op("Transpose", [y], ("perm", new long[] { 0, 2, 1 })), y));
        y = graph.Op("Tile", [graph.Op("Expand", [y, Vector(1, 1, 1)]), Vector(1, 2, 1)]);
        y = graph.Op("Pad", [y, Vector(0, 0, 1, 0, 0, 1)], ("mode", "constant"));
        y += graph.Op("Cast", [graph.Op("Range", [Number(0), Number(1), Number(1)])], ("to", 1L));
        y = graph.Op("Gather", [y, Vector(0, 0)], ("axis", 1L));
        y *= graph.Op("ConstantOfShape", [Vector(1, 2, 1)], ("value", Tensor.Of([2f], 1)));
        graph.Output(graph.Op("Identity", [y]), "y");
        graph.Metadata["made"] = "here";
        return OnnxFile.ToBytes(graph);

        Value Vector(params long[] values) => graph.Constant(Tensor.Vector(values));
        Value Number(long value) => graph.Constant(Tensor.Scalar(value));
    }
}
