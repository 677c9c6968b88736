using OrtRlhf.Graph;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models.Tests.Unets;

public class UNet2DTests
{
    private const string Weights = "ddpm-tiny/unet/diffusion_pytorch_model.safetensors";

    [Fact, NeedsGolden(Weights)]
    public void Ddpm_MatchesReference()
    {
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        var folder = ComponentFolder.Open(Golden.At("ddpm-tiny/unet"), "unet");
        folder.Expect("UNet2DModel");
        var config = UNet2DConfig.Parse(folder.Config);
        var timesteps = golden["unet.timesteps"].ToInt64s();
        using var options = Ort.Options();
        using var session = new Microsoft.ML.OnnxRuntime.InferenceSession(Graph.Formats.OnnxFile.ToBytes(UNet2DModel.Build(config,
            folder.Weights())), options);
        for (var i = 0; i < timesteps.Length; i++)
            Golden.Close(Ort.Run(session, ("sample", golden["unet.sample"]), ("timestep", Tensor.Vector(timesteps[i])))["out_sample"],
                golden[$"unet.output.{i}"]);
        Golden.Close(Ort.Run(session, ("sample", golden["unet.sample"]), ("timestep", golden["unet.mixed.timestep"]))["out_sample"],
            golden["unet.mixed.output"]);
    }

    [Fact, NeedsGolden(Weights)]
    public void Ddpm_GradientsOfAllWeights_MatchReference()
    {
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        var expected = Golden.Tensors("ddpm-tiny/grads.safetensors");
        var graph = UNet2DModel.Build(UNet2DConfig.Parse(Golden.Text("ddpm-tiny/unet/config.json")),
            Golden.WeightsOf(Weights, trainable: true), 2, 16, 16);
        var parameters = graph.Inputs.Where(i => i.Data is not null).ToList();
        Assert.Equal(expected.Tensors.Keys.Order(StringComparer.Ordinal), parameters.Select(p => p.Name).Order(StringComparer.Ordinal));
        var loss = Mean(Square(graph.Outputs[0] - graph.Constant(golden["train.target"])));
        var gradients = GradientBuilder.Add(loss, parameters);
        graph.Outputs.Clear();
        graph.Output(loss, "loss");
        foreach (var parameter in parameters) graph.Output(gradients[parameter], parameter.Name + "_grad");
        var results = Ort.Run(graph, ("sample", golden["train.x_t"]), ("timestep", golden["train.timestep"]));
        Assert.Equal(1.8561917657246052, results["loss"].ToFloats()[0], 1e-5);

        // The softmax takes no notice of a bias of the keys: its gradient is rounding noise about zero, measured against the largest of
        // all.
        var largest = expected.Tensors.Values.Max(t => t.ToFloats().Max(MathF.Abs));
        foreach (var parameter in parameters)
        {
            float[] a = results[parameter.Name + "_grad"].ToFloats(), b = expected[parameter.Name].ToFloats();
            var error = a.Zip(b).Max(p => Math.Abs((double)p.First - p.Second)) / Math.Max(b.Max(MathF.Abs), 1e-3 * largest);
            Assert.True(error < 1e-4, $"{parameter.Name}: max error / max value is {error:E2}");
        }
    }

    [Theory]
    [InlineData("""{"down_block_types":["SkipDownBlock2D"]}""", "SkipDownBlock2D")]
    [InlineData("""{"class_embed_type":"timestep"}""", "class_embed_type")]
    [InlineData("""{"block_out_channels":[8,8]}""", "down_block_types has 4 entries, expected 2")]
    public void Parse_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => UNet2DConfig.Parse(json)).Message);
}
