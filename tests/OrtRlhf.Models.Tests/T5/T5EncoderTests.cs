using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.T5;

public class T5EncoderTests
{
    [Fact, NeedsGolden("t5-tiny/model.safetensors")]
    public void GatedGelu_WithAndWithoutMask_MatchesReference()
    {
        var golden = Golden.Tensors("t5-tiny/golden.safetensors");
        var folder = ComponentFolder.Open(Golden.At("t5-tiny"), "text_encoder");
        folder.Expect(T5Config.ClassName);
        var config = T5Config.Parse(folder.Config);
        foreach (var graph in (OnnxGraph[])[T5EncoderModel.Build(config, folder.Weights()),
            T5EncoderModel.Build(config, folder.Weights(), 2, 17)])
        {
            Golden.Close(Ort.Run(graph, ("input_ids", golden["input_ids"]))["last_hidden_state"], golden["last_hidden_state"]);
            var masked = Ort.Run(graph, ("input_ids", golden["input_ids"]),
                ("attention_mask", golden["attention_mask"]))["last_hidden_state"];
            Golden.Close(masked, golden["last_hidden_state_masked"]);
        }
    }

    [Fact, NeedsGolden("t5-tiny/model.safetensors")]
    public void Import_InHalves_IsNearTheReference()
    {
        var golden = Golden.Tensors("t5-tiny/golden.safetensors");
        var plan = ImportPlan.Make(Golden.At("t5-tiny"), new ImportOptions { Type = ElementType.Float16 });
        Assert.Equal("text_encoder", Assert.Single(plan.Graphs).Place);
        var output = Ort.Run(plan.Graphs[0].Graph, ("input_ids", golden["input_ids"]))["last_hidden_state"];
        Assert.Equal(ElementType.Float16, output.Type);
        Golden.Close(output.As(ElementType.Float), golden["last_hidden_state"], 1e-2);
    }

    [Fact]
    public void Relu_WithoutAttention_IsTheFeedForwardLayersFormula()
    {
        // Attention's last layer is zero: what is left of a block is x + wo relu(wi rms(x)), then the final rms.
        const int Tokens = 5, Width = 4, Inner = 6;
        var config = T5Config.Parse(
            """{"vocab_size":5,"d_model":4,"d_kv":2,"d_ff":6,"num_layers":1,"num_heads":2,"feed_forward_proj":"relu"}""");
        var tensors = new Dictionary<string, float[]>();
        var random = new Random(3);
        var graph = T5EncoderModel.Build(config, new Weights((name, shape) =>
        {
            var values = Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ =>
                name.Contains("SelfAttention.o", StringComparison.Ordinal) ? 0 : (float)(2 * random.NextDouble() - 1)).ToArray();
            tensors[name] = values;
            return Tensor.Of(values, shape);
        }));
        var output = Ort.Run(graph, ("input_ids", Tensor.Of([0L, 1, 2, 3, 4], 1, Tokens)))["last_hidden_state"].ToFloats();
        Assert.Contains(tensors.Keys, name => name.EndsWith("DenseReluDense.wi.weight", StringComparison.Ordinal));
        for (var t = 0; t < Tokens; t++)
        {
            var x = Enumerable.Range(0, Width).Select(i => (double)tensors["shared.weight"][(t * Width) + i]).ToArray();
            var h = Product(Rms(x, "encoder.block.0.layer.1.layer_norm.weight"), "encoder.block.0.layer.1.DenseReluDense.wi.weight", Inner)
                .Select(v => Math.Max(0, v)).ToArray();
            var y = Product(h, "encoder.block.0.layer.1.DenseReluDense.wo.weight", Width);
            var expected = Rms([.. x.Zip(y, (a, b) => a + b)], "encoder.final_layer_norm.weight");
            for (var i = 0; i < Width; i++) Assert.Equal(expected[i], output[(t * Width) + i], 1e-5);
        }

        double[] Rms(double[] x, string name) =>
            [.. x.Select((v, i) => v / Math.Sqrt(x.Sum(u => u * u) / x.Length + 1e-6) * tensors[name][i])];

        // Weights are [out,in].
        double[] Product(double[] x, string name, int size) =>
            [.. Enumerable.Range(0, size).Select(o => x.Select((v, i) => v * tensors[name][(o * x.Length) + i]).Sum())];
    }

    [Theory]
    [InlineData("""{"feed_forward_proj":"gated-tan"}""", "feed_forward_proj = \"gated-tan\"")]
    [InlineData("""{"relative_attention_num_buckets":2}""", "relative_attention_num_buckets")]
    [InlineData("""{"relative_attention_max_distance":8}""", "relative_attention_max_distance = 8")]
    public void Parse_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => T5Config.Parse(json)).Message);

    [Fact]
    public void Parse_Relu_IsNotGated()
    {
        var config = T5Config.Parse("""{"feed_forward_proj":"relu"}""");
        Assert.Equal(("relu", false), (config.Activation, config.IsGated));
    }
}
