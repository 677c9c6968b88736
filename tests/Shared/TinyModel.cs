using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning;
using OrtRlhf.Models;

namespace OrtRlhf.Tests;

/// <summary>
/// Writes a complete pipeline folder of a few thousand random weights: latents 4x8x8, images 16x16, 12 tokens, states of width 16. It draws
/// noise,
/// but everything that a real model goes through runs, in milliseconds.
/// </summary>
internal static class TinyModel
{
    public const int Tokens = 12, Width = 16, Cells = 8;

    public static string Write(string folder, ElementType type = ElementType.Float)
    {
        Text(folder, "model_index.json", """
            {"_class_name":"StableDiffusionPipeline","scheduler":["diffusers","DDIMScheduler"],"tokenizer":["transformers","CLIPTokenizer"],
             "text_encoder":["transformers","CLIPTextModel"],"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderTiny"],"safety_checker":[null,null]}
            """);
        Scheduler(folder, "DDIMScheduler");
        Tokenizer(folder, "tokenizer");
        TextEncoder(folder, "text_encoder", Width, 1, type, 1);
        var unet = Text(folder, "unet/config.json", $$"""
            {"_class_name":"UNet2DConditionModel","sample_size":{{Cells}},"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":2,"cross_attention_dim":{{Width}},
             "down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}
            """);
        Save(Path.Combine(folder, "unet/diffusion_pytorch_model.safetensors"), type, 2, w =>
            UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(unet), w));
        Vae(folder, type);
        return folder;
    }

    /// <summary>
    /// The same with two text encoders, of widths 16 and 24, and a denoiser that takes text_embeds [8] and time_ids, as Stable Diffusion XL
    /// has them.
    /// </summary>
    public static string WriteXl(string folder, string pipeline = "\"force_zeros_for_empty_prompt\":true")
    {
        Text(folder, "model_index.json", $$"""
            {"_class_name":"StableDiffusionXLPipeline",{{pipeline}},"scheduler":["diffusers","EulerDiscreteScheduler"],"unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderTiny"],
             "tokenizer":["transformers","CLIPTokenizer"],"tokenizer_2":["transformers","CLIPTokenizer"],"text_encoder":["transformers","CLIPTextModel"],"text_encoder_2":["transformers","CLIPTextModelWithProjection"]}
            """);
        Scheduler(folder, "EulerDiscreteScheduler");
        Tokenizer(folder, "tokenizer");
        Tokenizer(folder, "tokenizer_2", "\"pad_token\":\"z\",");
        TextEncoder(folder, "text_encoder", Width, 3, ElementType.Float, 1);
        TextEncoder(folder, "text_encoder_2", 24, 3, ElementType.Float, 4, projection: 8);
        var unet = Text(folder, "unet/config.json", $$"""
            {"_class_name":"UNet2DConditionModel","sample_size":[{{Cells}},{{Cells - 2}}],"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":[2,4],"cross_attention_dim":40,
             "use_linear_projection":true,"transformer_layers_per_block":[1,2],"down_block_types":["DownBlock2D","CrossAttnDownBlock2D"],"up_block_types":["CrossAttnUpBlock2D","UpBlock2D"],
             "addition_embed_type":"text_time","addition_time_embed_dim":4,"projection_class_embeddings_input_dim":32}
            """);
        Save(Path.Combine(folder, "unet/diffusion_pytorch_model.safetensors"), ElementType.Float, 2, w =>
            UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(unet), w));
        Vae(folder, ElementType.Float);
        return folder;
    }

    /// <summary>
    /// Stable Diffusion 3's pipeline: two text encoders of widths 16 and 24 with projections of 8 and 6, T5 of width 48 with 7 tokens, or
    /// none, a transformer of one
    /// block, latents 4x8x8.
    /// </summary>
    public static string WriteSD3(string folder, bool t5 = true, string scheduler = "\"shift\":3.0")
    {
        var third = t5 ? """["transformers","T5EncoderModel"],"tokenizer_3":["transformers","T5TokenizerFast"]""" : "[null,null]";
        Text(folder, "model_index.json", $$"""
            {"_class_name":"StableDiffusion3Pipeline","scheduler":["diffusers","FlowMatchEulerDiscreteScheduler"],"transformer":["diffusers","SD3Transformer2DModel"],"vae":["diffusers","AutoencoderTiny"],
             "tokenizer":["transformers","CLIPTokenizer"],"tokenizer_2":["transformers","CLIPTokenizer"],"text_encoder":["transformers","CLIPTextModelWithProjection"],
             "text_encoder_2":["transformers","CLIPTextModelWithProjection"],"text_encoder_3":{{third}}}
            """);
        Flow(folder, scheduler);
        Tokenizer(folder, "tokenizer");
        Tokenizer(folder, "tokenizer_2", "\"pad_token\":\"z\",");
        TextEncoder(folder, "text_encoder", Width, 3, ElementType.Float, 1, projection: 8);
        TextEncoder(folder, "text_encoder_2", 24, 3, ElementType.Float, 4, projection: 6);
        if (t5) T5(folder, "text_encoder_3", "tokenizer_3", 48);
        var transformer = Text(folder, "transformer/config.json", $$"""
            {"_class_name":"SD3Transformer2DModel","sample_size":{{Cells}},"in_channels":4,"out_channels":4,"num_layers":2,"attention_head_dim":8,"num_attention_heads":2,"caption_projection_dim":16,
             "joint_attention_dim":48,"pooled_projection_dim":14,"pos_embed_max_size":6,"qk_norm":"rms_norm"}
            """);
        Save(Path.Combine(folder, "transformer/diffusion_pytorch_model.safetensors"), ElementType.Float, 2, w =>
            SD3Transformer2DModel.Build(SD3Transformer2DConfig.Parse(transformer), w));
        Vae(folder, ElementType.Float);
        return folder;
    }

    /// <summary>
    /// FLUX' pipeline: the pooled text of a CLIP, T5 of width 20, a transformer of one block of each kind that takes guidance.
    /// </summary>
    public static string WriteFlux(string folder, bool guidance = true)
    {
        Text(folder, "model_index.json", """
            {"_class_name":"FluxPipeline","scheduler":["diffusers","FlowMatchEulerDiscreteScheduler"],"transformer":["diffusers","FluxTransformer2DModel"],"vae":["diffusers","AutoencoderTiny"],
             "tokenizer":["transformers","CLIPTokenizer"],"tokenizer_2":["transformers","T5TokenizerFast"],"text_encoder":["transformers","CLIPTextModel"],"text_encoder_2":["transformers","T5EncoderModel"]}
            """);
        Flow(folder, "\"shift\":3.0,\"use_dynamic_shifting\":true");
        Tokenizer(folder, "tokenizer");
        TextEncoder(folder, "text_encoder", Width, 1, ElementType.Float, 1);
        T5(folder, "text_encoder_2", "tokenizer_2", 20);
        var transformer = Text(folder, "transformer/config.json", $$"""
            {"_class_name":"FluxTransformer2DModel","in_channels":16,"num_layers":1,"num_single_layers":1,"attention_head_dim":8,"num_attention_heads":2,"joint_attention_dim":20,
             "pooled_projection_dim":{{Width}},"guidance_embeds":{{(guidance ? "true" : "false")}},"axes_dims_rope":[2,2,4]}
            """);
        Save(Path.Combine(folder, "transformer/diffusion_pytorch_model.safetensors"), ElementType.Float, 2, w =>
            FluxTransformer2DModel.Build(FluxTransformer2DConfig.Parse(transformer), w));
        Vae(folder, ElementType.Float);
        return folder;
    }

    /// <summary>The pipeline of <see cref="Write"/>, its U-Net predicting a flow's velocity.</summary>
    public static string WriteFlowUNet(string folder)
    {
        Write(folder);
        Flow(folder, "\"shift\":1.0");
        var index = Path.Combine(folder, "model_index.json");
        File.WriteAllText(index, File.ReadAllText(index).Replace("DDIMScheduler", "FlowMatchEulerDiscreteScheduler"));
        return folder;
    }

    /// <summary>A pipeline without text that denoises pixels, 3x8x8.</summary>
    public static string WriteUnconditional(string folder)
    {
        Text(folder, "model_index.json",
            """{"_class_name":"DDPMPipeline","scheduler":["diffusers","DDPMScheduler"],"unet":["diffusers","UNet2DModel"]}""");
        Text(folder, "scheduler/scheduler_config.json", """{"_class_name":"DDPMScheduler","clip_sample":true}""");
        var unet = Text(folder, "unet/config.json", $$"""
            {"_class_name":"UNet2DModel","sample_size":{{Cells}},"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":null,
             "down_block_types":["DownBlock2D","AttnDownBlock2D"],"up_block_types":["AttnUpBlock2D","UpBlock2D"]}
            """);
        Save(Path.Combine(folder, "unet/diffusion_pytorch_model.safetensors"), ElementType.Float, 2, w =>
            UNet2DModel.Build(UNet2DConfig.Parse(unet), w));
        return folder;
    }

    /// <summary>A CLIPModel of random weights with its tokenizer: images of 16x16, embeddings of 8 numbers.</summary>
    public static string WriteClip(string folder)
    {
        Tokenizer(folder, ".");
        Text(folder, "preprocessor_config.json", """{"size":{"shortest_edge":16},"crop_size":{"height":16,"width":16}}""");
        var config = Text(folder, "config.json", $$"""
            {"architectures":["CLIPModel"],"projection_dim":8,
             "text_config":{"vocab_size":54,"hidden_size":{{Width}},"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":{{Tokens}},"eos_token_id":53},
             "vision_config":{"hidden_size":{{Width}},"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"image_size":16,"patch_size":8} }
            """);
        Save(Path.Combine(folder, "model.safetensors"), ElementType.Float, 4, w => ClipModel.Build(ClipConfig.Parse(config), w));
        return folder;
    }

    /// <summary>
    /// A pipeline of 5 tokens and states of width 12 around a denoiser that others exported: a folder with model.onnx and config.json.
    /// </summary>
    public static string WriteAround(string folder, string denoiser)
    {
        Text(folder, "model_index.json", """{"_class_name":"StableDiffusionPipeline","unet":["diffusers","OnnxRuntimeModel"]}""");
        Scheduler(folder, "PNDMScheduler");
        Tokenizer(folder, "tokenizer", tokens: 5);
        TextEncoder(folder, "text_encoder", 12, 1, ElementType.Float, 1, tokens: 5);
        Vae(folder, ElementType.Float);
        Directory.CreateDirectory(Path.Combine(folder, "unet"));
        foreach (var file in Directory.EnumerateFiles(denoiser).Where(f =>
            Path.GetFileName(f) is not ("golden.safetensors" or "lora.safetensors")))
            File.Copy(file, Path.Combine(folder, "unet", Path.GetFileName(file)));
        return folder;
    }

    /// <summary>Replaces the weights of a pipeline's denoiser, text encoders and decoder by graphs, in the layout of Optimum.</summary>
    public static string Export(string folder, ElementType type = ElementType.Float)
    {
        var isXl = Directory.Exists(Path.Combine(folder, "text_encoder_2"));
        Component("unet", "unet", (c, w) => c.Contains("UNet2DModel") ? UNet2DModel.Build(UNet2DConfig.Parse(c), w)
            : UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(c), w));
        Component("text_encoder", "text_encoder", (c, w) =>
            ClipTextModel.Build(ClipTextConfig.Parse(c), w, c.Contains("WithProjection"), hiddenStates: isXl));
        Component("text_encoder_2", "text_encoder_2", (c, w) =>
            ClipTextModel.Build(ClipTextConfig.Parse(c), w, projection: true, hiddenStates: true));
        Component("vae", "vae_decoder", (c, w) => AutoencoderTiny.BuildDecoder(AutoencoderTinyConfig.Parse(c), w));
        return folder;

        void Component(string name, string exported, Func<string, Weights, OnnxGraph> build)
        {
            if (!Directory.Exists(Path.Combine(folder, name))) return;
            var component = ComponentFolder.Open(Path.Combine(folder, name), name);
            OnnxFile.Write(build(component.Config, component.Weights(type)), Path.Combine(folder, exported, "model.onnx"));
            if (exported != name) File.Copy(Path.Combine(folder, name, "config.json"), Path.Combine(folder, exported, "config.json"));
            Directory.EnumerateFiles(Path.Combine(folder, name), "*.safetensors").ToList().ForEach(File.Delete);
        }
    }

    private static void Flow(string folder, string settings) =>
        Text(folder, "scheduler/scheduler_config.json", $$"""{"_class_name":"FlowMatchEulerDiscreteScheduler",{{settings}}}""");

    // Letters as pieces; the mark of a space is a piece, too.
    private static void T5(string folder, string name, string tokenizer, int width)
    {
        var pieces = string.Join(",", "abcdefghijklmnopqrstuvwxyz\u2581".Select(c => $"[\"{c}\",-2]"));
        Text(folder, tokenizer + "/tokenizer.json", """
            {"added_tokens":[{"id":0,"content":"<pad>"},{"id":1,"content":"</s>"}],"pre_tokenizer":{"type":"Metaspace","replacement":"\u2581","add_prefix_space":true},
             "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"</s>","type_id":0}}],"special_tokens":{"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}}},
             "model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],PIECES]}}
            """.Replace("PIECES", pieces));
        var config = Text(folder, name + "/config.json", $$"""
            {"architectures":["T5EncoderModel"],"vocab_size":30,"d_model":{{width}},"d_kv":8,"d_ff":16,"num_layers":1,"num_heads":2,"feed_forward_proj":"gated-gelu"}
            """);
        Save(Path.Combine(folder, name, "model.safetensors"), ElementType.Float, 5, w => T5EncoderModel.Build(T5Config.Parse(config), w));
    }

    private static void Scheduler(string folder, string className) => Text(folder, "scheduler/scheduler_config.json", $$"""
        {"_class_name":"{{className}}","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,"prediction_type":"v_prediction","clip_sample":false,"timestep_spacing":"trailing"}
        """);

    private static void Tokenizer(string folder, string name, string special = "", int tokens = Tokens)
    {
        var letters = "abcdefghijklmnopqrstuvwxyz".SelectMany(c => new[] { $"{c}", $"{c}</w>" }).Append("<|startoftext|>")
            .Append("<|endoftext|>");
        Text(folder, name + "/vocab.json", "{" + string.Join(",", letters.Select((token, id) => $"\"{token}\":{id}")) + "}");
        Text(folder, name + "/merges.txt", "#version: 0.2\n");
        Text(folder, name + "/tokenizer_config.json", $$"""{{{special}}"model_max_length":{{tokens}}}""");
    }

    private static void TextEncoder(string folder, string name, int width, int layers, ElementType type, ulong seed, int projection = 0,
        int tokens = Tokens)
    {
        var className = projection > 0 ? "CLIPTextModelWithProjection" : "CLIPTextModel";
        var text = Text(folder, name + "/config.json", $$"""
            {"architectures":["{{className}}"],"vocab_size":54,"hidden_size":{{width}},"intermediate_size":32,"num_hidden_layers":{{layers}},"num_attention_heads":2,"max_position_embeddings":{{tokens}},"eos_token_id":53,"projection_dim":{{projection}}}
            """.Replace(",\"projection_dim\":0", ""));
        Save(Path.Combine(folder, name, "model.safetensors"), type, seed, w =>
            ClipTextModel.Build(ClipTextConfig.Parse(text), w, projection > 0));
    }

    private static void Vae(string folder, ElementType type)
    {
        var vae = Text(folder, "vae/config.json", """
            {"_class_name":"AutoencoderTiny","encoder_block_out_channels":[8,8],"decoder_block_out_channels":[8,8],"num_encoder_blocks":[0,1],"num_decoder_blocks":[1,1],"scaling_factor":0.5,"shift_factor":0.1}
            """);
        Save(Path.Combine(folder, "vae/diffusion_pytorch_model.safetensors"), type, 3, w =>
        {
            AutoencoderTiny.BuildDecoder(AutoencoderTinyConfig.Parse(vae), w);
            AutoencoderTiny.BuildEncoder(AutoencoderTinyConfig.Parse(vae), w);
        });
    }

    private static string Text(string folder, string file, string text)
    {
        var path = Path.Combine(folder, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return text;
    }

    // Building the network asks for every weight by name and shape: each is drawn then, and kept for the file.
    private static void Save(string path, ElementType type, ulong seed, Action<Weights> build)
    {
        var tensors = new SortedDictionary<string, Tensor>(StringComparer.Ordinal);
        build(new Weights((name, shape) =>
        {
            if (tensors.TryGetValue(name, out var known)) return known;
            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            new Philox(seed, 0, (uint)tensors.Count, 0).FillGaussian(values);
            var isNorm = shape.Length == 1 && name.EndsWith("weight", StringComparison.Ordinal);
            var scale = shape.Length < 2 ? 0.1 : 1 / Math.Sqrt(values.Length / shape[0]);
            for (var i = 0; i < values.Length; i++) values[i] = (float)((isNorm ? 1 : 0) + (scale * values[i]));
            return tensors[name] = Tensor.Of(values, shape);
        }));
        SafetensorsFile.Write(path, tensors.Select(t => KeyValuePair.Create(t.Key, t.Value.As(type))));
    }
}
