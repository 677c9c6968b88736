using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Models.Tests.Checkpoints;

/// <summary>Component folders whose weights are all the same number: what a test needs that looks at structure.</summary>
internal static class Zeros
{
    public const string UNet = """
        {"_class_name":"UNet2DConditionModel","sample_size":8,"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":2,"cross_attention_dim":16,
         "down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}
        """;

    public const string Text =
        """{"architectures":["CLIPTextModel"],"vocab_size":54,"hidden_size":16,"intermediate_size":32,"num_hidden_layers":2,"num_attention_heads":2,"max_position_embeddings":12}""";

    public const string Vae =
        """{"_class_name":"AutoencoderKL","block_out_channels":[8,8],"norm_num_groups":4,"down_block_types":["DownEncoderBlock2D","DownEncoderBlock2D"],"up_block_types":["UpDecoderBlock2D","UpDecoderBlock2D"]}""";

    public const string SD3 = """
        {"_class_name":"SD3Transformer2DModel","num_layers":2,"attention_head_dim":4,"num_attention_heads":2,"caption_projection_dim":8,"pos_embed_max_size":4,"in_channels":4,"out_channels":4,
         "joint_attention_dim":8,"pooled_projection_dim":8}
        """;

    public const string T5 =
        """{"architectures":["T5EncoderModel"],"vocab_size":20,"d_model":8,"d_kv":4,"d_ff":16,"num_heads":2,"num_layers":1}""";

    /// <summary>Writes a component; its weights into one file, or split over two with an index.</summary>
    public static string Write(string folder, string config, ElementType type = ElementType.Float, bool split = false, float number = 0)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), config);
        var tensors = new SortedDictionary<string, Tensor>(StringComparer.Ordinal);
        var component = ComponentFolder.Open(folder, "component");
        ComponentGraphs.Build(component, "", new Weights((name, shape) => tensors[name] = Of(type, shape, number)));
        var stem = config.Contains("architectures") ? "model" : "diffusion_pytorch_model";
        if (!split)
        {
            SafetensorsFile.Write(Path.Combine(folder, stem + ".safetensors"), tensors);
            return folder;
        }
        string[] names = [$"{stem}-00001-of-00002.safetensors", $"{stem}-00002-of-00002.safetensors"];
        var half = tensors.Count / 2;
        SafetensorsFile.Write(Path.Combine(folder, names[0]), tensors.Take(half));
        SafetensorsFile.Write(Path.Combine(folder, names[1]), tensors.Skip(half));
        var map = string.Join(",", tensors.Keys.Select((name, i) => $"\"{name}\":\"{names[i < half ? 0 : 1]}\""));
        File.WriteAllText(Path.Combine(folder, stem + ".safetensors.index.json"), $"{{\"weight_map\":{{{map}}}}}");
        return folder;
    }

    private static Tensor Of(ElementType type, long[] shape, float number)
    {
        var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
        Array.Fill(values, number);
        if (type != ElementType.BFloat16) return Tensor.Of(values, shape).As(type);
        return new Tensor(type, shape,
            [.. values.SelectMany(v => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(v) >> 16)))]);
    }
}
