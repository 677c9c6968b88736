using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Clip;

public class ClipModelTests
{
    private const string Golds = "clip-tiny/golden.safetensors";

    [Fact]
    public void BothTowers_MatchReference()
    {
        var golden = Golden.Tensors(Golds);
        var folder = ComponentFolder.Open(Golden.At("clip-tiny"), "clip");
        folder.Expect("CLIPModel");
        var output = Ort.Run(ClipModel.Build(ClipConfig.Parse(folder.Config), folder.Weights()), ("input_ids", golden["input_ids"]),
            ("pixel_values", golden["pixel_values"]));
        foreach (var name in (string[])["logits_per_image", "text_embeds", "image_embeds"]) Golden.Close(output[name], golden[name]);
    }

    [Fact]
    public void ImageTower_MatchesReference()
    {
        var golden = Golden.Tensors(Golds);
        var folder = ComponentFolder.Open(Golden.At("clip-tiny"), "clip");
        var output = Ort.Run(ClipModel.BuildVision(ClipConfig.Parse(folder.Config), folder.Weights(), 2),
            ("pixel_values", golden["pixel_values"]));
        foreach (var name in (string[])["image_embeds", "image_features"]) Golden.Close(output[name], golden[name]);
        foreach (var name in (string[])["last_hidden_state", "pooler_output"]) Golden.Close(output[name], golden["vision." + name]);
    }

    [Fact]
    public void TextModelWithProjection_MatchesReference()
    {
        var golden = Golden.Tensors(Golds);
        var folder = ComponentFolder.Open(Golden.At("clip-tiny"), "clip");
        var output = Ort.Run(ClipTextModel.Build(ClipConfig.Parse(folder.Config).Text, folder.Weights(), projection: true),
            ("input_ids", golden["input_ids"]));
        Golden.Close(output["text_embeds"], golden["text_features"]);
    }

    [Theory]
    [InlineData("""{"vision_config":{"patch_size":64,"image_size":32}}""", "patch_size = 64")]
    [InlineData("""{"vision_config":{"hidden_act":"tan"}}""", "hidden_act")]
    [InlineData("""{"text_config":[]}""", "text_config")]
    public void Parse_Unsupported_ThrowsAndNamesIt(string json, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() => ClipConfig.Parse(json)).Message);
}
