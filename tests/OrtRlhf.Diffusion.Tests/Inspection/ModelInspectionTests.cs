using OrtRlhf.Diffusion.Inspection;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Inspection;

public class ModelInspectionTests
{
    private static readonly IReadOnlyList<string> Targets = new LoraOptions().Targets;

    [Fact]
    public void DiffusersFolder_ListsEveryComponent()
    {
        var reports = ModelInspection.Of(Golden.At("sd1-tiny"), Targets).ToDictionary(r => r.Name);
        Assert.Empty(((string[])["unet", "vae_decoder", "vae_encoder", "text_encoder", "tokenizer", "scheduler"]).Except(reports.Keys));
        var unet = reports["unet"];
        Assert.Equal(("UNet2DConditionModel", "safetensors"), (unet.Class, unet.Format));
        var weights = SafetensorsFile.Open(Golden.At("sd1-tiny/unet/diffusion_pytorch_model.safetensors")).Tensors;
        Assert.Equal(weights.Values.Sum(t => t.Count), unet.Parameters);
        Assert.Equal(["float"], unet.Types);
        Assert.Equal(["sample", "timestep", "encoder_hidden_states"], unet.Inputs.Select(i => i.Name));
        Assert.Equal(["batch_size", "4", "height", "width"], unet.Inputs[0].Shape!);
        Assert.Equal("int64", unet.Inputs[1].Type);
        Assert.Equal("out_sample", Assert.Single(unet.Outputs).Name);
        Assert.Equal(SafetensorsFile.Open(Golden.At("sd1-tiny/lora.safetensors")).Tensors.Keys.Where(k => k.Contains("lora_A",
            StringComparison.Ordinal)).Select(k => k["unet.".Length..^".lora_A.weight".Length]).Order(StringComparer.Ordinal),
            unet.LoraTargets.Order(StringComparer.Ordinal));
        Assert.Empty(unet.UnsupportedOperators);
        Assert.Equal("files", reports["scheduler"].Format);
        Assert.Equal(SafetensorsFile.Open(Golden.At("sd1-tiny/vae/diffusion_pytorch_model.safetensors")).Tensors.Values.Sum(t => t.Count),
            reports["vae_decoder"].Parameters + reports["vae_encoder"].Parameters);
        Assert.Null(unet.Note);
    }

    [Fact]
    public void OptimumExport_SaysTheSameAsTheCheckpoint()
    {
        using var folder = new TempFolder();
        CheckpointImport.Write(ImportPlan.Make(Golden.At("sd1-tiny"), new ImportOptions { LoraTargets = [] }), folder.Path);
        ComponentReport ours = Unet(Golden.At("sd1-tiny")), theirs = Unet(folder.Path);
        Assert.Equal(("onnx", 17), (theirs.Format, theirs.Opset));
        Assert.Equal(ours.LoraTargets, theirs.LoraTargets);
        Assert.Equal(ours.Inputs.Select(i => (i.Name, i.Type)), theirs.Inputs.Select(i => (i.Name, i.Type)));
        Assert.Empty(theirs.UnsupportedOperators);
        Assert.InRange(theirs.Parameters, 0.99 * ours.Parameters, 1.01 * ours.Parameters);

        ComponentReport Unet(string path) => ModelInspection.Of(path, Targets).Single(r => r.Name == "unet");
    }

    [Theory]
    [InlineData("unet-opset17", 17, "float")]
    [InlineData("unet-small-opset14", 14, "float")]
    [InlineData("unet-small-fp16-opset17", 17, "float16")]
    public void PyTorchExport_File_FindsTargetsAndHasGradients(string model, int opset, string type)
    {
        var report = Assert.Single(ModelInspection.Of(Golden.At($"torch/{model}/model.onnx"), Targets));
        Assert.Equal((opset, type), (report.Opset, report.Types[0]));
        Assert.Contains("mid_block.attentions.0.transformer_blocks.0.attn1.to_q", report.LoraTargets);
        Assert.Contains("mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0", report.LoraTargets);
        Assert.Empty(report.UnsupportedOperators);
        Assert.Null(report.Note);
    }

    [Fact]
    public void UnsupportedOperators_BehindTargets_AreCounted()
    {
        using var folder = new TempFolder();
        var graph = new OnnxGraph("odd");
        var x = graph.Input("x", ElementType.Float, "batch", 4);
        var early = graph.Op("Det",
            [graph.Op("Unsqueeze", [graph.Op("Unsqueeze", [x, graph.Constant(Tensor.Vector(2))]), graph.Constant(Tensor.Vector(3))])]);
        Value y;
        using (graph.Scope("attn")) using (graph.Scope("to_q")) y = Functions.MatMul(x,
            graph.Constant(Tensor.Of(new float[16], 4, 4), "attn.to_q.weight"));
        y = graph.Op("QuickGelu", "com.microsoft", 1, [graph.Op("QuickGelu", "com.microsoft", 1, [y])[0]])[0];
        graph.Output(y, "y");
        graph.Output(early, "early");
        OnnxFile.Write(graph, folder.At("odd.onnx"));

        var report = Assert.Single(ModelInspection.Of(folder.At("odd.onnx"), ["to_q"]));
        Assert.Equal(["attn.to_q"], report.LoraTargets);
        Assert.Equal([KeyValuePair.Create("com.microsoft.QuickGelu", 2)], report.UnsupportedOperators);
        report = Assert.Single(ModelInspection.Of(folder.At("odd.onnx"), ["nothing"]));
        Assert.Empty(report.LoraTargets);
        Assert.Contains("Det", report.UnsupportedOperators.Keys);
    }

    [Fact]
    public void UnknownClass_IsANote()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.At("config.json"), """{"_class_name":"Kandinsky5Transformer3DModel"}""");
        SafetensorsFile.Write(folder.At("model.safetensors"),
            [KeyValuePair.Create("w", Tensor.Of(new float[6], 2, 3).As(ElementType.Float16))]);
        var report = Assert.Single(ModelInspection.Of(folder.Path, Targets));
        Assert.Equal((6, "float16"), (report.Parameters, report.Types[0]));
        Assert.Contains("Kandinsky5Transformer3DModel cannot be built here", report.Note);
    }

    [Fact]
    public void HostileInput_IsRefused()
    {
        using var folder = new TempFolder();
        void Refused(string path, string message) =>
            Assert.Contains(message, Assert.Throws<UserError>(() => ModelInspection.Of(path, Targets)).Message);
        Refused(folder.At("missing"), "no such folder");
        Refused(folder.Path, "no model there");
        File.WriteAllText(folder.At("model.bin"), "x");
        Refused(folder.At("model.bin"), "expected a folder or an .onnx file");
        File.WriteAllText(folder.At("bad.onnx"), "this is no model");
        Refused(folder.At("bad.onnx"), "not a whole ONNX file");
        File.WriteAllText(folder.At("config.json"), new string('[', 100_000));
        File.WriteAllBytes(folder.At("model.safetensors"), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0]);
        Refused(folder.Path, "is not valid JSON");
        File.WriteAllText(folder.At("config.json"), "{}");
        Refused(folder.Path, "expected a header of");
        if (OperatingSystem.IsWindows()) return;
        Directory.CreateSymbolicLink(folder.At("links"), "/");
        Directory.CreateDirectory(folder.At("pipeline"));
        Directory.CreateSymbolicLink(folder.At("pipeline/unet"), folder.At("links"));
        Refused(folder.At("pipeline"), "is a link");
    }
}
