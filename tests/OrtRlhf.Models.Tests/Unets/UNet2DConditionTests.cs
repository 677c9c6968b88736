using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Unets;

public class UNet2DConditionTests
{
    private const string Weights = "unet/diffusion_pytorch_model.safetensors";

    [Fact]
    public void StableDiffusion1_MatchesReference() => Matches("sd1-tiny");

    [Fact, NeedsGolden("sd2-tiny/unet")]
    public void StableDiffusion2_MatchesReference() => Matches("sd2-tiny");

    [Fact, NeedsGolden("sdxl-tiny/unet")]
    public void StableDiffusionXl_MatchesReference() => Matches("sdxl-tiny");

    [Fact]
    public void OtherLatentSize_MatchesReference()
    {
        var golden = Golden.Tensors("sd1-tiny/golden.safetensors");
        var config = UNet2DConditionConfig.Parse(Golden.Text("sd1-tiny/unet/config.json"));
        var graph = UNet2DConditionModel.Build(config, Golden.WeightsOf($"sd1-tiny/{Weights}"));
        var context = golden["text.last_hidden_state"];
        var third = new Tensor(context.Type, [1, context.Dims[1], context.Dims[2]], context.Bytes()[(int)(context.ByteLength / 3 * 2)..]);
        var output = Ort.Run(graph, ("sample", golden["unet.alt.sample"]), ("timestep", Tensor.Vector(481)),
            ("encoder_hidden_states", third));
        Golden.Close(output["out_sample"], golden["unet.alt.output"]);
    }

    [Fact, NeedsGolden("sd1-tiny/unet/diffusion_pytorch_model.fp16.safetensors")]
    public void HalfWeights_MatchReference()
    {
        const string Half = "sd1-tiny/unet/diffusion_pytorch_model.fp16.safetensors";
        var golden = Golden.Tensors("sd1-tiny/golden.safetensors");
        var config = UNet2DConditionConfig.Parse(Golden.Text("sd1-tiny/unet/config.json"));
        var t = golden["unet.timesteps"].ToInt64s()[1];

        var widened = UNet2DConditionModel.Build(config, Golden.WeightsOf(Half));
        var output = Ort.Run(widened, ("sample", golden["unet.sample"]), ("timestep", Tensor.Vector(t)),
            ("encoder_hidden_states", golden["unet.encoder_hidden_states"]));
        Golden.Close(output["out_sample"], golden["unet.fp16weights.output"]);

        var half = UNet2DConditionModel.Build(config, Golden.WeightsOf(Half, type: ElementType.Float16));
        output = Ort.Run(half, ("sample", golden["unet.sample"].As(ElementType.Float16)), ("timestep", Tensor.Vector(t)),
            ("encoder_hidden_states", golden["unet.encoder_hidden_states"].As(ElementType.Float16)));
        Assert.Equal(ElementType.Float16, output["out_sample"].Type);
        Golden.Close(output["out_sample"], golden["unet.fp16weights.output"], 1e-2);
    }

    // Every timestep with open shapes, the row of mixed timesteps with frozen ones.
    private static void Matches(string set)
    {
        var golden = Golden.Tensors($"{set}/golden.safetensors");
        var config = UNet2DConditionConfig.Parse(Golden.Text($"{set}/unet/config.json"));
        var weights = Golden.WeightsOf($"{set}/{Weights}");
        using var options = Ort.Options();
        using var session = new Microsoft.ML.OnnxRuntime.InferenceSession(Graph.Formats.OnnxFile.ToBytes(UNet2DConditionModel.Build(config,
            weights)), options);
        var inputs = new List<(string, Tensor)> { ("sample", golden["unet.sample"]),
            ("encoder_hidden_states", golden["unet.encoder_hidden_states"]) };
        if (config.TextTime) inputs.AddRange([("text_embeds", golden["unet.text_embeds"]), ("time_ids", golden["unet.time_ids"])]);
        var timesteps = golden["unet.timesteps"].ToInt64s();
        for (var i = 0; i < timesteps.Length; i++)
            Golden.Close(Ort.Run(session, [.. inputs, ("timestep", Tensor.Vector(timesteps[i]))])["out_sample"],
                golden[$"unet.output.{i}"]);

        var (sample, context) = (golden["unet.sample"].Dims, golden["unet.encoder_hidden_states"].Dims);
        var frozen = UNet2DConditionModel.Build(config, weights, sample[0], sample[2], sample[3], context[1]);
        Assert.All(frozen.Nodes.Where(n => n.Domain.Length == 0), n =>
            Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
        var mixed = Ort.Run(frozen, [.. inputs, ("timestep", golden["unet.mixed.timestep"])])["out_sample"];
        Golden.Close(mixed, golden["unet.mixed.output"]);
    }
}
