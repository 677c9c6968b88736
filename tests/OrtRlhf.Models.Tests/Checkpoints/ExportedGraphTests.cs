using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Checkpoints;

public class ExportedGraphTests
{
    private static readonly (string, ElementType)[] Inputs =
        [("sample", ElementType.Float), ("timestep", ElementType.Int64), ("encoder_hidden_states", ElementType.Float)];

    [Theory]
    [InlineData("unet-opset17", 1e-5)]
    [InlineData("unet-linear-opset17", 1e-5)]
    [InlineData("unet-small-opset14", 1e-5)]
    [InlineData("unet-small-fp16-opset17", 3e-3)]
    public void Read_PyTorchExport_FrozenMatchesReference(string name, double tolerance)
    {
        var golden = Golden.Tensors($"torch/{name}/golden.safetensors");
        var folder = ComponentFolder.Open(Golden.At($"torch/{name}"), "unet");
        Assert.Equal((true, "UNet2DConditionModel"), (folder.IsOnnx, folder.ClassName));
        string[] names = ["sample", "timestep", "encoder_hidden_states"];
        var given = names.Select(n => (n, golden["other." + n])).ToArray();

        var open = Ort.Run(ExportedGraph.Read(folder, Inputs, "out_sample"), [.. given.Select(g => (g.n, Typed(g.n, g.Item2)))]);
        Golden.Close(open["out_sample"], golden["other.out_sample"].As(ElementType.Float), tolerance);
        var sizes = given.ToDictionary(g => g.n, g => g.n == "encoder_hidden_states" ? [.. g.Item2.Dims[..2], 0] : g.Item2.Dims);
        var frozen = ExportedGraph.Read(folder, Inputs, "out_sample", sizes);
        Assert.All(frozen.Nodes, n => Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
        Golden.Close(Ort.Run(frozen, [.. given.Select(g => (g.n, Typed(g.n, g.Item2)))])["out_sample"],
            golden["other.out_sample"].As(ElementType.Float), tolerance);

        static Tensor Typed(string name, Tensor data) => name == "timestep" ? data : data.As(ElementType.Float);
    }

    [Fact]
    public void Read_OtherInputsOrOutputs_Throws()
    {
        var folder = ComponentFolder.Open(Golden.At("torch/unet-small-opset14"), "unet");
        var error = Assert.Throws<UserError>(() => ExportedGraph.Read(folder, [("latent_sample", ElementType.Float)], "out_sample"));
        Assert.Contains("expected inputs latent_sample, got sample, timestep, encoder_hidden_states", error.Message);
        Assert.Contains("expected an output noise", Assert.Throws<UserError>(() => ExportedGraph.Read(folder, Inputs, "noise")).Message);
    }
}
