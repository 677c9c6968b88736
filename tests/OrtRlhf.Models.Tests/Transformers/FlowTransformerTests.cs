using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Transformers;

public class FlowTransformerTests
{
    private const string Weights = "transformer/diffusion_pytorch_model.safetensors";

    [Fact, NeedsGolden("sd3-tiny/transformer")]
    public void StableDiffusion3_MatchesReference() => Matches("sd3-tiny");

    [Fact, NeedsGolden("sd35-tiny/transformer")]
    public void StableDiffusion35_MatchesReference() => Matches("sd35-tiny");

    [Fact, NeedsGolden("flux-tiny/transformer")]
    public void Flux_MatchesReference()
    {
        var golden = Golden.Tensors("flux-tiny/golden.safetensors");
        var config = FluxTransformer2DConfig.Parse(Golden.Text("flux-tiny/transformer/config.json"));
        (string, Tensor)[] inputs = [.. ((string[])["hidden_states", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids"])
            .Select(n => (n, golden["transformer." + n]))];
        foreach (var graph in (OnnxGraph[])[FluxTransformer2DModel.Build(config, Golden.WeightsOf($"flux-tiny/{Weights}")),
            FluxTransformer2DModel.Build(config, Golden.WeightsOf($"flux-tiny/{Weights}"), 2, 30, 7)])
            EachTimestep(graph, golden, inputs);
    }

    [Fact, NeedsGolden("flux-tiny/transformer")]
    public void Flux_WithGuidance_AddsItsEmbeddingToThatOfTheTimestep()
    {
        // The guidance's embedding has the timestep's weights here, and their last layers give a half each: guidance = timestep is the
        // model without.
        var golden = Golden.Tensors("flux-tiny/golden.safetensors");
        var tensors = new Dictionary<string, Tensor>(Golden.Tensors($"flux-tiny/{Weights}").Tensors);
        foreach (var name in tensors.Keys.Where(n => n.Contains("timestep_embedder", StringComparison.Ordinal)).ToList())
        {
            if (name.Contains("linear_2", StringComparison.Ordinal)) tensors[name] =
                Tensor.Of([.. tensors[name].ToFloats().Select(f => f / 2)], tensors[name].Dims);
            tensors[name.Replace("timestep_", "guidance_")] = tensors[name];
        }
        var config = FluxTransformer2DConfig.Parse(Golden.Text("flux-tiny/transformer/config.json")
            .Replace("\"guidance_embeds\": false", "\"guidance_embeds\": true"));
        (string, Tensor)[] inputs = [.. ((string[])["hidden_states", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids"])
            .Select(n => (n, golden["transformer." + n]))];
        var t = Tensor.Of([golden["transformer.timesteps"].ToFloats()[1]], 1);
        var output = Ort.Run(FluxTransformer2DModel.Build(config, new Weights(tensors)), [.. inputs, ("timestep", t), ("guidance", t)]);
        Golden.Close(output["out_hidden_states"], golden["transformer.output.1"]);
    }

    [Fact, NeedsGolden("sd35-tiny/transformer")]
    public void StableDiffusion35_InHalves_ComesNear()
    {
        var golden = Golden.Tensors("sd35-tiny/golden.safetensors");
        var graph = SD3Transformer2DModel.Build(Config("sd35-tiny"), Golden.WeightsOf($"sd35-tiny/{Weights}", type: ElementType.Float16));
        (string, Tensor)[] inputs = [.. Inputs(golden).Select(i => (i.Item1, i.Item2.As(ElementType.Float16)))];
        var output = Ort.Run(graph,
            [.. inputs, ("timestep", Tensor.Of([golden["transformer.timesteps"].ToFloats()[1]], 1))])["out_hidden_states"];
        Golden.Close(output.As(ElementType.Float), golden["transformer.output.1"], 2e-2);
    }

    [Theory]
    [InlineData("""{"qk_norm":"layer_norm"}""", "qk_norm = \"layer_norm\"")]
    [InlineData("""{"pos_embed_max_size":null}""", "pos_embed_max_size = null")]
    [InlineData("""{"caption_projection_dim":7}""", "caption_projection_dim = 7")]
    [InlineData("""{"num_layers":2,"dual_attention_layers":[2]}""", "dual_attention_layers")]
    [InlineData("""{"force_zeros_for_pooled":true}""", "force_zeros_for_pooled")]
    public void ParseSD3_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => SD3Transformer2DConfig.Parse(json)).Message);

    [Theory]
    [InlineData("""{"axes_dims_rope":[16,56]}""", "axes_dims_rope = [16, 56]")]
    [InlineData("""{"attention_head_dim":4,"axes_dims_rope":[1,3]}""", "even")]
    [InlineData("""{"rope_theta":2000}""", "rope_theta")]
    public void ParseFlux_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => FluxTransformer2DConfig.Parse(json)).Message);

    [Theory]
    [InlineData(15)]
    [InlineData(26)]
    public void BuildSD3_SizeThatDoesNotFit_Throws(long height)
    {
        var config = new SD3Transformer2DConfig { PosEmbedMaxSize = 12, NumLayers = 1, NumAttentionHeads = 1, AttentionHeadDim = 4 };
        var zeros = new Weights((_, shape) => Tensor.Of(new float[shape.Aggregate(1L, (a, b) => a * b)], shape));
        Assert.Contains("at most 24", Assert.Throws<UserError>(() => SD3Transformer2DModel.Build(config, zeros, 1, height, 8)).Message);
    }

    internal static SD3Transformer2DConfig Config(string set) =>
        SD3Transformer2DConfig.Parse(Golden.Text($"{set}/transformer/config.json"));

    // Open sizes at two sizes of latents, and fixed ones.
    private static void Matches(string set)
    {
        var golden = Golden.Tensors($"{set}/golden.safetensors");
        var (config, weights) = (Config(set), Golden.WeightsOf($"{set}/{Weights}"));
        var open = SD3Transformer2DModel.Build(config, weights);
        EachTimestep(open, golden, Inputs(golden));
        Assert.Equal("[batch,8,height,width]", open.Outputs[0].Shape!.ToString());

        var t = Tensor.Of([golden["transformer.timesteps"].ToFloats()[1]], 1);
        (string, Tensor)[] first = [.. Inputs(golden).Skip(1).Select(i => (i.Item1, First(i.Item2)))];
        Golden.Close(Ort.Run(open, [.. first, ("hidden_states", golden["transformer.alt.hidden_states"]),
            ("timestep", t)])["out_hidden_states"], golden["transformer.alt.output"]);

        var frozen = SD3Transformer2DModel.Build(config, weights, 2, 16, 16, 11);
        Assert.All(frozen.Nodes.Where(n => n.Domain.Length == 0), n =>
            Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
        EachTimestep(frozen, golden, Inputs(golden));
    }

    private static (string, Tensor)[] Inputs(SafetensorsFile golden) =>
        [.. ((string[])["hidden_states", "encoder_hidden_states", "pooled_projections"]).Select(n => (n, golden["transformer." + n]))];

    private static void EachTimestep(OnnxGraph graph, SafetensorsFile golden, (string, Tensor)[] inputs)
    {
        using var options = Ort.Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(graph), options);
        var timesteps = golden["transformer.timesteps"].ToFloats();
        var rows = graph["timestep"].Shape![0] is { IsKnown: true, Size: var known } ? (int)known : 1;
        for (var i = 0; i < timesteps.Length; i++)
        {
            var t = Tensor.Of([.. Enumerable.Repeat(timesteps[i], rows)], rows);
            Golden.Close(Ort.Run(session, [.. inputs, ("timestep", t)])["out_hidden_states"], golden[$"transformer.output.{i}"]);
        }
    }

    private static Tensor First(Tensor x) => new(x.Type, [1, .. x.Dims[1..]], x.Bytes()[..(int)(x.ByteLength / x.Dims[0])]);
}
