using OrtRlhf.Graph;
using OrtRlhf.Graph.Tests;

namespace OrtRlhf.Models.Tests.T5;

public class T5EncoderTests
{
    [GoldenFact("t5-tiny/model.safetensors")]
    public void GatedGelu_WithAndWithoutMask_MatchesReference()
    {
        var golden = Golden.Tensors("t5-tiny/golden.safetensors");
        var folder = ComponentFolder.Open(Golden.At("t5-tiny"), "text_encoder");
        folder.Expect(T5Config.ClassName);
        var config = T5Config.Parse(folder.Config);
        foreach (var graph in (OnnxGraph[])[T5EncoderModel.Build(config, folder.Weights()), T5EncoderModel.Build(config, folder.Weights(), 2, 17)])
        {
            Golden.Close(Ort.Run(graph, ("input_ids", golden["input_ids"]))["last_hidden_state"], golden["last_hidden_state"]);
            var masked = Ort.Run(graph, ("input_ids", golden["input_ids"]), ("attention_mask", golden["attention_mask"]))["last_hidden_state"];
            Golden.Close(masked, golden["last_hidden_state_masked"]);
        }
    }

    [GoldenFact("t5-tiny/model.safetensors")]
    public void Import_InHalves_IsNearTheReference()
    {
        var golden = Golden.Tensors("t5-tiny/golden.safetensors");
        var plan = ImportPlan.Make(Golden.At("t5-tiny"), new ImportOptions { Type = ElementType.Float16 });
        Assert.Equal("text_encoder", Assert.Single(plan.Graphs).Place);
        var output = Ort.Run(plan.Graphs[0].Graph, ("input_ids", golden["input_ids"]))["last_hidden_state"];
        Assert.Equal(ElementType.Float16, output.Type);
        Golden.Close(output.As(ElementType.Float), golden["last_hidden_state"], 1e-2);
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
