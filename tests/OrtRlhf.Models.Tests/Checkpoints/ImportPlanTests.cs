using OrtRlhf.Graph;

namespace OrtRlhf.Models.Tests.Checkpoints;

public sealed class ImportPlanTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Make_PipelineOfTwoTextEncoders_GivesAllAndLeavesTheSafetyCheckerOut()
    {
        Index("""
            "unet":["diffusers","UNet2DConditionModel"],"text_encoder":["transformers","CLIPTextModel"],"text_encoder_2":["transformers","CLIPTextModelWithProjection"],
            "tokenizer":["transformers","CLIPTokenizer"],"tokenizer_2":["transformers","CLIPTokenizer"],"vae":["diffusers","AutoencoderKL"],"image_encoder":[null,null],
            "safety_checker":["stable_diffusion","StableDiffusionSafetyChecker"],"scheduler":["diffusers","EulerDiscreteScheduler"],"requires_safety_checker":true
            """);
        Zeros.Write(At("unet"), Zeros.UNet);
        Zeros.Write(At("text_encoder"), Zeros.Text);
        Zeros.Write(At("text_encoder_2"),
            Zeros.Text.Replace("CLIPTextModel", "CLIPTextModelWithProjection").Replace("{", "{\"projection_dim\":6,"));
        Zeros.Write(At("vae"), Zeros.Vae);
        foreach (var name in (string[])["tokenizer", "tokenizer_2"])
        {
            File(name, "vocab.json", """{"<|startoftext|>":0,"<|endoftext|>":1}""");
            File(name, "merges.txt", "#version: 0.2\n");
        }
        File("scheduler", "scheduler_config.json", "{}");
        File("unused", "config.json", "{\"_class_name\":\"Other\"}");

        var plan = ImportPlan.Make(_folder.Path, new ImportOptions());
        Assert.Equal(["text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder"],
            plan.Graphs.Select(g => g.Place).Order(StringComparer.Ordinal));
        Assert.Equal(["safety_checker (StableDiffusionSafetyChecker)"], plan.LeftOut);
        Assert.Equal(
            ["model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder_2/config.json",
                "tokenizer/merges.txt", "tokenizer/vocab.json", "tokenizer_2/merges.txt",
                "tokenizer_2/vocab.json", "unet/config.json", "vae_decoder/config.json", "vae_encoder/config.json"],
            plan.Files.Select(f => f.Place.Replace('\\', '/')).Order(StringComparer.Ordinal));
        Assert.Equal(["last_hidden_state", "pooler_output", "hidden_states.0", "hidden_states.1", "hidden_states.2"],
            Graph(plan, "text_encoder").Outputs.Select(o => o.Name));
        var second = Graph(plan, "text_encoder_2");
        Assert.Equal(["text_embeds", "last_hidden_state", "hidden_states.0", "hidden_states.1", "hidden_states.2"],
            second.Outputs.Select(o => o.Name));
        Assert.Equal("[batch_size,sequence_length]", second.Inputs[0].Shape!.ToString());
        var unet = Graph(plan, "unet");
        Assert.Equal("[batch_size,4,height,width]", unet["sample"].Shape!.ToString());
        Assert.Contains(unet.Inputs, i => i.Name.EndsWith("to_q.lora_A.weight", StringComparison.Ordinal) && i.Data is { Count: 0 });
    }

    [Fact]
    public void Make_FolderOfComponents_NamesThemAfterTheirFolders()
    {
        Zeros.Write(At("unet"), Zeros.UNet, ElementType.BFloat16, split: true);
        Zeros.Write(At("vae_fine"), Zeros.Vae, ElementType.Float16);
        var plan = ImportPlan.Make(_folder.Path, new ImportOptions { LoraTargets = [] });
        Assert.Equal(["unet", "vae_fine_decoder", "vae_fine_encoder"], plan.Graphs.Select(g => g.Place));
        Assert.All(plan.Graphs.SelectMany(g => g.Graph.Inputs).Where(i => i.Name != "timestep"), i =>
            Assert.Equal((ElementType.Float, null), (i.Type, i.Data)));
        Assert.Equal(["vae_decoder", "vae_encoder"], ImportPlan.Make(At("vae_fine"), new ImportOptions()).Graphs.Select(g => g.Place));
    }

    [Fact]
    public void Make_FlowPipeline_NamesTheTransformersAdaptersAndTakesBothKindsOfTokenizers()
    {
        Zeros.Write(At("transformer"), Zeros.SD3);
        Zeros.Write(At("text_encoder_3"), Zeros.T5);
        File("tokenizer_3", "tokenizer.json", Tokenizers.UnigramTokenizerTests.Json.Replace("MAP", ""));
        Index(
            "\"transformer\":[\"diffusers\",\"SD3Transformer2DModel\"],\"text_encoder_3\":[\"transformers\",\"T5EncoderModel\"],\"tokenizer_3\":[\"transformers\",\"T5TokenizerFast\"]");
        var plan = ImportPlan.Make(_folder.Path, new ImportOptions());
        Assert.Equal(["text_encoder_3", "transformer"], plan.Graphs.Select(g => g.Place).Order(StringComparer.Ordinal));
        Assert.Contains(Graph(plan, "transformer").Inputs, i =>
            i.Name == "transformer.transformer_blocks.0.attn.to_q.lora_A.weight" && i.Data is { Count: 0 });
        Assert.Equal(["input_ids"], Graph(plan, "text_encoder_3").Inputs.Where(i => i.Data is null).Select(i => i.Name));
        File("tokenizer_3", "tokenizer.json", Tokenizers.UnigramTokenizerTests.Json.Replace("MAP", "").Replace("Unigram", "WordPiece"));
        Refused("\"WordPiece\" is not supported");
    }

    [Theory]
    [InlineData(false, ElementType.Float16)]
    [InlineData(true, ElementType.Float)]
    public void Make_HalfPrecision_ComputesInFloatOnlyWhereTheConfigurationSaysSo(bool upcast, ElementType computed)
    {
        Zeros.Write(At("vae"), upcast ? Zeros.Vae.Replace("{", "{\"force_upcast\":true,") : Zeros.Vae);
        foreach (var graph in ImportPlan.Make(At("vae"), new ImportOptions { Type = ElementType.Float16 }).Graphs.Select(g => g.Graph))
        {
            Assert.All(graph.Inputs.Concat(graph.Outputs), v => Assert.Equal(ElementType.Float16, v.Type));
            Assert.All(graph.Nodes.Where(n => n.Op == "Conv"), n => Assert.Equal(computed, n.Output.Type));
            Assert.All(graph.Constants.Where(c => c.Name.EndsWith("weight", StringComparison.Ordinal)), c =>
                Assert.Equal(ElementType.Float16, c.Type));
        }
    }

    [Fact]
    public void Make_HalfPrecisionOfNumbersThatAreTooLarge_ThrowsWhenTheyAreRead()
    {
        Zeros.Write(At("text"), Zeros.Text, number: 70000);
        var graph = ImportPlan.Make(At("text"), new ImportOptions { Type = ElementType.Float16 }).Graphs[0].Graph;
        var weight = graph.Constants.First(c => c.Name.EndsWith("q_proj.bias", StringComparison.Ordinal));
        var error = Assert.Throws<UserError>(() => weight.Data!.Bytes());
        Assert.Contains($"weight '{weight.Name}'", error.Message);
        Assert.Contains("65504", error.Message);
    }

    [Theory]
    [InlineData("{\"_class_name\":\"PixArtTransformer2DModel\"}", "got PixArtTransformer2DModel")]
    [InlineData("{\"_class_name\":\"SD3Transformer2DModel\",\"qk_norm\":\"layer_norm\"}", "qk_norm = \"layer_norm\"")]
    [InlineData("{\"_class_name\":\"UNet2DConditionModel\",\"attention_type\":\"gated\"}", "attention_type = \"gated\"")]
    [InlineData("{\"_class_name\":\"UNet2DConditionModel\",\"dual_cross_attention\":true}", "dual_cross_attention = true")]
    [InlineData("{\"_class_name\":\"UNet2DConditionModel\",\"new_option\":\"strong\"}", "new_option = \"strong\" is not known")]
    [InlineData("{\"_class_name\":\"UNet2DConditionModel\",\"layers_per_block\":2147483647}", "from 1 to 1024")]
    [InlineData("{\"_class_name\":\"UNet2DConditionModel\",\"block_out_channels\":[9007199254740991,1,1,1]}", "block_out_channels")]
    [InlineData("{\"_class_name\":\"UNet2DModel\",\"attention_legacy_order\":true}", "attention_legacy_order = true")]
    [InlineData("{\"_class_name\":\"AutoencoderKL\",\"norm_type\":\"spatial\"}", "norm_type = \"spatial\" is not known")]
    [InlineData("{\"_class_name\":\"AutoencoderTiny\",\"upsample_fn\":\"bilinear\"}", "upsample_fn")]
    [InlineData("{\"architectures\":[\"CLIPTextModel\"],\"hidden_act\":\"tan\"}", "hidden_act = \"tan\"")]
    [InlineData("{\"architectures\":[\"CLIPTextModel\"],\"max_position_embeddings\":100000}", "from 1 to 4096")]
    [InlineData("{\"_class_name\":\"\\ud800\"}", "half a character")]
    [InlineData("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "not valid JSON")]
    [InlineData("", "is empty")]
    public void Make_WhatIsNotSupported_ThrowsOneLineThatNamesIt(string config, string message)
    {
        File("unet", "config.json", config);
        File("unet", "diffusion_pytorch_model.safetensors", "\u0002\0\0\0\0\0\0\0{}");
        File("unet", "model.safetensors", "\u0002\0\0\0\0\0\0\0{}");
        Refused(message);
    }

    [Fact]
    public void Make_WhatLeadsOutOfTheFolder_Throws()
    {
        using var outside = new TempFolder();
        Zeros.Write(outside.At("unet"), Zeros.UNet);
        Index("\"../unet\":[\"diffusers\",\"UNet2DConditionModel\"]");
        Refused("../unet");
        Index("\"unet\":[\"diffusers\",\"UNet2DConditionModel\"]");
        Directory.CreateSymbolicLink(At("unet"), outside.At("unet"));
        Refused("link out of its folder");
        System.IO.File.Delete(At("model_index.json"));
        Refused("link out of its folder");
        Directory.Delete(At("unet"));
        Zeros.Write(At("unet"), Zeros.UNet);
        System.IO.File.Move(At("unet", "diffusion_pytorch_model.safetensors"), outside.At("weights"));
        System.IO.File.CreateSymbolicLink(At("unet", "diffusion_pytorch_model.safetensors"), outside.At("weights"));
        Refused("link out of its folder");
        System.IO.File.Delete(At("unet", "config.json"));
        System.IO.File.CreateSymbolicLink(At("unet", "config.json"), outside.At("unet", "config.json"));
        Refused("link out of its folder");
    }

    [Fact]
    public void Make_NothingThere_SaysWhatIsExpected()
    {
        Refused("nothing to import; expected model_index.json");
        File("scheduler", "scheduler_config.json", "{}");
        Refused("nothing to import");
        Index("\"unet\":[\"diffusers\",\"UNet2DConditionModel\"]");
        Refused("no folder 'unet'");
        File("unet", "config.json", Zeros.UNet);
        Refused("no weights");
        File("tokenizer", "vocab.json", "{}");
        using (var huge = System.IO.File.Create(At("tokenizer", "merges.txt"))) huge.SetLength(1L << 30);
        Index("\"tokenizer\":[\"transformers\",\"CLIPTokenizer\"]");
        Refused("1073741824 bytes");
    }

    [Fact]
    public void Make_Pipe_ThrowsInsteadOfWaiting()
    {
        if (OperatingSystem.IsWindows()) return;
        Directory.CreateDirectory(At("unet"));
        using var mkfifo = System.Diagnostics.Process.Start("mkfifo", At("unet", "config.json"));
        mkfifo.WaitForExit();
        Refused("is empty");
    }

    private static OnnxGraph Graph(ImportPlan plan, string place) => plan.Graphs.Single(g => g.Place == place).Graph;

    private string At(params string[] parts) => _folder.At(parts);

    private void Index(string components) =>
        File("", "model_index.json", $"{{\"_class_name\":\"StableDiffusionXLPipeline\",{components}}}");

    private void File(string component, string name, string text)
    {
        Directory.CreateDirectory(At(component));
        System.IO.File.WriteAllText(At(component, name), text);
    }

    private void Refused(string message)
    {
        var error = Assert.Throws<UserError>(() => ImportPlan.Make(_folder.Path, new ImportOptions()));
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }
}
