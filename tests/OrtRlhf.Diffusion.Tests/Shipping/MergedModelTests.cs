using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Shipping;

public class MergedModelTests
{
    [Theory]
    [InlineData(ElementType.Float, 1e-5)]
    [InlineData(ElementType.Float16, 1e-2)]
    public void Write_Weights_AreTheTunedModel(ElementType type, double tolerance)
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("model"), type));
        Check(folder, model, tolerance);
        var (before, after) = (Weights("model"), Weights("merged"));
        Assert.Equal(before.Tensors.Keys.Order(StringComparer.Ordinal), after.Tensors.Keys.Order(StringComparer.Ordinal));
        Assert.All(after.Tensors.Values, tensor => Assert.Equal(type, tensor.Type));

        SafetensorsFile Weights(string name) => SafetensorsFile.Open(folder.At(name, "unet", "diffusion_pytorch_model.safetensors"));
    }

    [Theory]
    [InlineData(ElementType.Float, 1e-5)]
    [InlineData(ElementType.Float16, 1e-2)]
    public void Write_Graph_IsTheTunedModel(ElementType type, double tolerance)
    {
        using var folder = new TempFolder();
        var component = ComponentFolder.Open(Path.Combine(TinyModel.Write(folder.At("model")), "unet"), "unet");
        OnnxFile.Write(UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(component.Config), component.Weights(type)),
            folder.At("model", "unet", "model.onnx"));
        File.Delete(folder.At("model", "unet", "diffusion_pytorch_model.safetensors"));
        Check(folder, ImageModel.Open(folder.At("model")), tolerance);
        Assert.False(File.Exists(folder.At("merged", "unet", "diffusion_pytorch_model.safetensors")));
    }

    [Fact]
    public void Write_OntoTheModelOrAnotherModelsAdapter_Throws()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.Write(folder.At("model")));
        using var policy = RandomPolicy.Create(model, new LoraOptions());
        var file = AdapterFile.Of(policy, "a.safetensors");
        Assert.Contains("own folder", Assert.Throws<UserError>(() => MergedModel.Write(model, file, folder.At("model") + "/")).Message);
        var other = file with { Layers = [file.Layers[0] with { Module = "no.such.layer" }] };
        Assert.Contains("does not fit model", Assert.Throws<UserError>(() => MergedModel.Write(model, other, folder.At("out"))).Message);
        Assert.False(Directory.Exists(folder.At("out")));
    }

    private static void Check(TempFolder folder, ImageModel model, double tolerance)
    {
        using var policy = RandomPolicy.Create(model,
            new LoraOptions { Rank = 2, Alpha = 3, Targets = ["to_q", "to_out.0", "conv1", "proj_in"] });
        MergedModel.Write(model, AdapterFile.Of(policy, "a.safetensors"), folder.At("merged"));
        using var merged = Policy.OfBase(ImageModel.Open(folder.At("merged")));
        using var bare = Policy.OfBase(model);
        var tuned = RandomPolicy.Denoise(policy);
        Numbers.Close(tuned, RandomPolicy.Denoise(merged), tolerance);
        Assert.True(Numbers.Error(tuned, RandomPolicy.Denoise(bare)) > 0.05, "the adapter changes nothing, so that the test shows nothing");
    }
}
