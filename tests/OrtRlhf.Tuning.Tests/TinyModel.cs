using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning;
using OrtRlhf.Models;

namespace OrtRlhf.Tuning.Tests;

/// <summary>
/// Writes a complete pipeline folder of a few thousand random weights: latents 4x8x8, images 16x16, 12 tokens, states of width 16. It draws noise,
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
        Text(folder, "scheduler/scheduler_config.json", """
            {"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,"prediction_type":"v_prediction","clip_sample":false,"timestep_spacing":"trailing"}
            """);
        var letters = "abcdefghijklmnopqrstuvwxyz".SelectMany(c => new[] { $"{c}", $"{c}</w>" }).Append("<|startoftext|>").Append("<|endoftext|>");
        Text(folder, "tokenizer/vocab.json", "{" + string.Join(",", letters.Select((token, id) => $"\"{token}\":{id}")) + "}");
        Text(folder, "tokenizer/merges.txt", "#version: 0.2\n");
        Text(folder, "tokenizer/tokenizer_config.json", $$"""{"model_max_length":{{Tokens}}}""");

        var text = Text(folder, "text_encoder/config.json", $$"""
            {"architectures":["CLIPTextModel"],"vocab_size":54,"hidden_size":{{Width}},"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":{{Tokens}},"eos_token_id":53}
            """);
        Save(Path.Combine(folder, "text_encoder/model.safetensors"), type, 1, w => ClipTextModel.Build(ClipTextConfig.Parse(text), w));
        var unet = Text(folder, "unet/config.json", $$"""
            {"_class_name":"UNet2DConditionModel","sample_size":{{Cells}},"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":2,"cross_attention_dim":{{Width}},
             "down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}
            """);
        Save(Path.Combine(folder, "unet/diffusion_pytorch_model.safetensors"), type, 2, w => UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(unet), w));
        var vae = Text(folder, "vae/config.json", """
            {"_class_name":"AutoencoderTiny","encoder_block_out_channels":[8,8],"decoder_block_out_channels":[8,8],"num_encoder_blocks":[0,1],"num_decoder_blocks":[1,1],"scaling_factor":0.5,"shift_factor":0.1}
            """);
        Save(Path.Combine(folder, "vae/diffusion_pytorch_model.safetensors"), type, 3, w =>
        {
            AutoencoderTiny.BuildDecoder(AutoencoderTinyConfig.Parse(vae), w);
            AutoencoderTiny.BuildEncoder(AutoencoderTinyConfig.Parse(vae), w);
        });
        return folder;
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
            var scale = shape.Length == 1 ? 0.1 : 1 / Math.Sqrt(values.Length / shape[0]);
            for (var i = 0; i < values.Length; i++) values[i] = (float)((isNorm ? 1 : 0) + (scale * values[i]));
            return tensors[name] = Tensor.Of(values, shape);
        }));
        SafetensorsFile.Write(path, tensors.Select(t => KeyValuePair.Create(t.Key, t.Value.As(type))));
    }
}
