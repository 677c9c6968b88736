using System.Text.Json.Nodes;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Checkpoints;

/// <summary>
/// Configurations that are legal but rare: each asks for the parameters that diffusers and transformers have there, by name and shape, or
/// is refused by an error
/// that names the option. A case changes a small configuration; <c>name:[shape]</c> must be among the parameters, <c>-name</c> must not
/// begin any.
/// </summary>
public class UnusualConfigTests
{
    private const string UNet = """
        {"_class_name":"UNet2DConditionModel","sample_size":8,"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":2,"cross_attention_dim":20,
         "down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}
        """;

    private const string UNet2D = """
        {"_class_name":"UNet2DModel","sample_size":8,"block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":4,
         "down_block_types":["DownBlock2D","AttnDownBlock2D"],"up_block_types":["AttnUpBlock2D","UpBlock2D"]}
        """;

    private const string Attn1 = "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        Time = "down_blocks.0.resnets.0.time_emb_proj.weight";

    [Theory]
    [InlineData("""{"attention_head_dim":[2,4]}""", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight:[16,16]")]
    [InlineData("""{"attention_head_dim":8}""", Attn1 + ".to_q.weight:[8,8]")]
    [InlineData("""{"only_cross_attention":true}""", Attn1 + ".to_k.weight:[8,20]",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight:[16,16]")]
    [InlineData("""{"only_cross_attention":[false,true]}""", Attn1 + ".to_k.weight:[8,8]")]
    [InlineData("""{"resnet_time_scale_shift":"scale_shift"}""", Time + ":[16,32]")]
    [InlineData("""{"class_embed_type":"timestep"}""", "class_embedding.linear_1.weight:[32,8]", "class_embedding.linear_2.weight:[32,32]",
        Time + ":[8,32]")]
    [InlineData("""{"class_embed_type":"timestep","class_embeddings_concat":true}""", Time + ":[8,64]")]
    [InlineData("""{"class_embed_type":"projection","projection_class_embeddings_input_dim":12}""",
        "class_embedding.linear_1.weight:[32,12]")]
    [InlineData("""{"class_embed_type":"simple_projection","projection_class_embeddings_input_dim":12}""",
        "class_embedding.weight:[32,12]", "class_embedding.bias:[32]")]
    [InlineData("""{"class_embed_type":"identity"}""", "-class_embedding")]
    [InlineData("""{"num_class_embeds":10}""", "class_embedding.weight:[10,32]")]
    [InlineData("""{"addition_embed_type":"text_time","addition_time_embed_dim":4,"projection_class_embeddings_input_dim":34}""",
        "add_embedding.linear_1.weight:[32,34]")]
    [InlineData("""{"upcast_attention":true}""", Attn1 + ".to_v.weight:[8,8]", "-" + Attn1 + ".to_q.bias", Attn1 + ".to_out.0.bias:[8]")]
    [InlineData("""{"conv_in_kernel":5,"conv_out_kernel":1}""", "conv_in.weight:[8,4,5,5]", "conv_out.weight:[4,8,1,1]")]
    [InlineData("""{"time_embedding_dim":24,"time_cond_proj_dim":6,"timestep_post_act":"silu","time_embedding_act_fn":"mish"}""",
        "time_embedding.linear_1.weight:[24,8]", "time_embedding.cond_proj.weight:[8,6]", "-time_embedding.cond_proj.bias",
        Time + ":[8,24]")]
    [InlineData("""{"transformer_layers_per_block":[2,3]}""", "down_blocks.0.attentions.0.transformer_blocks.1.norm1.weight:[8]",
        "mid_block.attentions.0.transformer_blocks.2.norm1.weight:[16]", "up_blocks.1.attentions.1.transformer_blocks.1.norm1.weight:[8]",
        "-down_blocks.0.attentions.0.transformer_blocks.2")]
    [InlineData("""{"transformer_layers_per_block":[[1],[2]],"reverse_transformer_layers_per_block":[[2,2],[1,3]]}""",
        "mid_block.attentions.0.transformer_blocks.1.norm1.weight:[16]", "up_blocks.1.attentions.1.transformer_blocks.2.norm1.weight:[8]",
        "-up_blocks.1.attentions.0.transformer_blocks.1")]
    [InlineData("""{"mid_block_type":null}""", "-mid_block")]
    [InlineData("""{"mid_block_type":"UNetMidBlock2D"}""", "mid_block.resnets.0.conv1.weight:[16,16,3,3]", "-mid_block.resnets.1",
        "-mid_block.attentions")]
    [InlineData("""{"layers_per_block":[1,2]}""", "down_blocks.1.resnets.1.conv1.weight:[16,16,3,3]",
        "up_blocks.0.resnets.2.conv1.weight:[16,24,3,3]", "up_blocks.1.resnets.1.conv1.weight:[8,16,3,3]", "-up_blocks.1.resnets.2")]
    [InlineData("""{"encoder_hid_dim_type":"text_proj","encoder_hid_dim":12}""", "encoder_hid_proj.weight:[20,12]")]
    [InlineData("""{"use_linear_projection":true}""", "down_blocks.0.attentions.0.proj_in.weight:[8,8]")]
    [InlineData(
        """{"cross_attention_dim":[20,20],"center_input_sample":true,"downsample_padding":0,"mid_block_scale_factor":1.4,"act_fn":"mish","freq_shift":1,"flip_sin_to_cos":false}""", "down_blocks.0.attentions.0.proj_in.weight:[8,8,1,1]")]
    [InlineData(
        """{"down_block_types":["DownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","UpBlock2D"],"mid_block_type":"UNetMidBlock2D"}""", "-down_blocks.0.attentions", "down_blocks.0.downsamplers.0.conv.weight:[8,8,3,3]")]
    [InlineData("""{"block_out_channels":[8],"down_block_types":["CrossAttnDownBlock2D"],"up_block_types":["CrossAttnUpBlock2D"]}""",
        "-down_blocks.0.downsamplers", "-up_blocks.0.upsamplers", "up_blocks.0.resnets.1.conv1.weight:[8,16,3,3]")]
    public void UNet2DCondition_Builds(string change, params string[] expected) =>
        Check(Parameters(c => UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(Changed(UNet, change)), c)), expected);

    [Theory]
    [InlineData("""{"attention_head_dim":[2,4,8]}""", "attention_head_dim has 3 entries, expected 2")]
    [InlineData("""{"attention_head_dim":3}""", "attention_head_dim")]
    [InlineData("""{"dual_cross_attention":true}""", "dual_cross_attention = true")]
    [InlineData("""{"addition_embed_type":"text"}""", "addition_embed_type = \"text\"")]
    [InlineData("""{"addition_embed_type":"image_hint"}""", "addition_embed_type = \"image_hint\"")]
    [InlineData("""{"encoder_hid_dim_type":"text_image_proj"}""", "encoder_hid_dim_type = \"text_image_proj\"")]
    [InlineData("""{"class_embed_type":"fancy"}""", "class_embed_type = fancy")]
    [InlineData("""{"class_embed_type":"projection"}""", "projection_class_embeddings_input_dim is missing")]
    [InlineData("""{"time_embedding_type":"fourier"}""", "time_embedding_type = \"fourier\"")]
    [InlineData("""{"resnet_time_scale_shift":"ada_group"}""", "resnet_time_scale_shift = \"ada_group\"")]
    [InlineData("""{"cross_attention_norm":"group_norm"}""", "cross_attention_norm = \"group_norm\"")]
    [InlineData("""{"transformer_layers_per_block":[[1],[2]]}""", "reverse_transformer_layers_per_block is needed")]
    [InlineData("""{"mid_block_type":"UNetMidBlock2DSimpleCrossAttn"}""", "mid_block_type = \"UNetMidBlock2DSimpleCrossAttn\"")]
    [InlineData("""{"down_block_types":["SimpleCrossAttnDownBlock2D","DownBlock2D"]}""", "\"SimpleCrossAttnDownBlock2D\"")]
    [InlineData("""{"down_block_types":["KDownBlock2D","KCrossAttnDownBlock2D"]}""", "\"KDownBlock2D\"")]
    [InlineData("""{"up_block_types":["ResnetUpsampleBlock2D","UpBlock2D"]}""", "\"ResnetUpsampleBlock2D\"")]
    [InlineData("""{"act_fn":"sine"}""", "act_fn = \"sine\"")]
    [InlineData("""{"norm_num_groups":3}""", "norm_num_groups")]
    public void UNet2DCondition_IsRefused(string change, string message) =>
        Refused(() => UNet2DConditionModel.Build(UNet2DConditionConfig.Parse(Changed(UNet, change)), Any()), message);

    [Theory]
    [InlineData("""{"attention_head_dim":null}""", "down_blocks.1.attentions.0.to_q.weight:[16,16]",
        "down_blocks.1.attentions.0.to_q.bias:[16]", "down_blocks.1.attentions.0.group_norm.weight:[16]")]
    [InlineData("""{"resnet_time_scale_shift":"scale_shift"}""", Time + ":[16,32]", "-mid_block.attentions.0.group_norm",
        "down_blocks.1.attentions.0.group_norm.weight:[16]")]
    [InlineData("""{"resnet_time_scale_shift":"scale_shift","attn_norm_num_groups":2}""", "mid_block.attentions.0.group_norm.weight:[16]")]
    [InlineData("""{"add_attention":false}""", "-mid_block.attentions", "mid_block.resnets.1.conv1.weight:[16,16,3,3]")]
    [InlineData("""{"mid_block_type":null}""", "-mid_block")]
    [InlineData("""{"in_channels":1,"out_channels":2,"layers_per_block":2,"mid_block_scale_factor":1.4,"downsample_padding":0}""",
        "conv_in.weight:[8,1,3,3]", "conv_out.weight:[2,8,3,3]", "up_blocks.1.resnets.2.conv1.weight:[8,16,3,3]")]
    public void UNet2D_Builds(string change, params string[] expected) =>
        Check(Parameters(c => UNet2DModel.Build(UNet2DConfig.Parse(Changed(UNet2D, change)), c)), expected);

    [Theory]
    [InlineData("""{"down_block_types":["SkipDownBlock2D","AttnSkipDownBlock2D"]}""", "\"SkipDownBlock2D\"")]
    [InlineData("""{"down_block_types":["DownBlock2D","AttnSkipDownBlock2D"]}""", "\"AttnSkipDownBlock2D\"")]
    [InlineData("""{"down_block_types":["KDownBlock2D","DownBlock2D"]}""", "\"KDownBlock2D\"")]
    [InlineData("""{"downsample_type":"resnet"}""", "downsample_type = \"resnet\"")]
    [InlineData("""{"upsample_type":"resnet"}""", "upsample_type = \"resnet\"")]
    [InlineData("""{"time_embedding_type":"fourier"}""", "time_embedding_type = \"fourier\"")]
    [InlineData("""{"num_class_embeds":10}""", "num_class_embeds = 10")]
    [InlineData("""{"attention_head_dim":5}""", "attention_head_dim")]
    [InlineData("""{"resnet_time_scale_shift":"spatial"}""", "resnet_time_scale_shift = \"spatial\"")]
    public void UNet2D_IsRefused(string change, string message) =>
        Refused(() => UNet2DModel.Build(UNet2DConfig.Parse(Changed(UNet2D, change)), Any()), message);

    [Theory]
    [InlineData("""{"use_quant_conv":false,"use_post_quant_conv":false}""", "-quant_conv", "-post_quant_conv",
        "decoder.conv_in.weight:[8,4,3,3]")]
    [InlineData("""{"layers_per_block":3,"latent_channels":16,"act_fn":"gelu"}""",
        "encoder.down_blocks.1.resnets.2.conv2.weight:[8,8,3,3]", "decoder.up_blocks.0.resnets.3.conv2.weight:[8,8,3,3]",
        "encoder.conv_out.weight:[32,8,3,3]", "quant_conv.weight:[32,32,1,1]")]
    [InlineData("""{"mid_block_add_attention":false}""", "-encoder.mid_block.attentions",
        "decoder.mid_block.resnets.1.conv1.weight:[8,8,3,3]")]
    [InlineData("""{"block_out_channels":[8],"down_block_types":["DownEncoderBlock2D"],"up_block_types":["UpDecoderBlock2D"]}""",
        "-encoder.down_blocks.0.downsamplers", "-decoder.up_blocks.0.upsamplers")]
    [InlineData("""{"block_out_channels":[4,8],"in_channels":1,"out_channels":1}""",
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight:[8,4,1,1]", "decoder.up_blocks.1.resnets.0.conv1.weight:[4,8,3,3]",
        "decoder.conv_out.weight:[1,4,3,3]")]
    public void AutoencoderKl_Builds(string change, params string[] expected) => Check(Parameters(weights =>
    {
        var config = AutoencoderKlConfig.Parse(Changed(Zeros.Vae, change));
        AutoencoderKl.BuildEncoder(config, weights);
        AutoencoderKl.BuildDecoder(config, weights);
    }), expected);

    [Theory]
    [InlineData("""{"down_block_types":["AttnDownEncoderBlock2D","DownEncoderBlock2D"]}""", "\"AttnDownEncoderBlock2D\"")]
    [InlineData("""{"latents_mean":[0,0,0,0]}""", "latents_mean")]
    [InlineData("""{"scaling_factor":"a"}""", "scaling_factor")]
    public void AutoencoderKl_IsRefused(string change, string message) =>
        Refused(() => AutoencoderKl.BuildDecoder(AutoencoderKlConfig.Parse(Changed(Zeros.Vae, change)), Any()), message);

    // The end-of-text token is the first one of its id; in old files, where the id is 2, the largest id of the row.
    [Theory]
    [InlineData(53, "gelu", 1)]
    [InlineData(2, "quick_gelu", 3)]
    [InlineData(40, "gelu_new", 0)]
    public void Clip_PoolsWhereTheConfigurationSays(int eos, string activation, int place)
    {
        var config = ClipTextConfig.Parse(Changed(Zeros.Text, $$"""{"eos_token_id":{{eos}},"hidden_act":"{{activation}}"}"""));
        var random = new Random(1);
        var weights = new Weights((_, shape) => Tensor.Of([.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ =>
            (float)random.NextDouble() - 0.5f)], shape));
        var outputs = Ort.Run(ClipTextModel.Build(config, weights, sequence: 5),
            ("input_ids", Tensor.Of((long[])[52, 53, 5, 53, 2], 1, 5)));
        if (eos == 2) outputs = Ort.Run(ClipTextModel.Build(config, weights, sequence: 5),
            ("input_ids", Tensor.Of((long[])[52, 2, 5, 53, 2], 1, 5)));
        Assert.Equal(outputs["last_hidden_state"].ToFloats()[(place * 16)..((place + 1) * 16)], outputs["pooler_output"].ToFloats());
    }

    [Fact]
    public void SplitFilesOfBfloat16_HaveTheirNumbers()
    {
        using var folder = new TempFolder();
        Zeros.Write(folder.At("unet"), Zeros.UNet, ElementType.BFloat16, split: true, number: -1.625f);
        var weights = ComponentFolder.Open(folder.At("unet"), "unet").Weights();
        foreach (var name in (string[])["conv_in.bias", "up_blocks.1.resnets.0.norm1.bias"])
            Assert.All(weights.Get(name, name == "conv_in.bias" ? 8 : 24).ToFloats(), v => Assert.Equal(-1.625f, v));
    }

    private static string Changed(string config, string change)
    {
        var json = JsonNode.Parse(config)!.AsObject();
        foreach (var (key, value) in JsonNode.Parse(change)!.AsObject()) json[key] = value?.DeepClone();
        return json.ToJsonString();
    }

    private static Weights Any() => new((_, shape) => Tensor.Of(new float[shape.Aggregate(1L, (a, b) => a * b)], shape));

    private static Dictionary<string, string> Parameters(Action<Weights> build)
    {
        var asked = new Dictionary<string, string>(StringComparer.Ordinal);
        build(new Weights((name, shape) =>
        {
            asked[name] = $"[{string.Join(",", shape)}]";
            return Tensor.Of(new float[shape.Aggregate(1L, (a, b) => a * b)], shape);
        }));
        return asked;
    }

    private static void Check(Dictionary<string, string> asked, string[] expected)
    {
        foreach (var line in expected)
        {
            if (line[0] == '-')
            {
                Assert.DoesNotContain(asked.Keys, name => name == line[1..] || name.StartsWith(line[1..] + ".", StringComparison.Ordinal));
                continue;
            }
            var (name, shape) = (line[..line.IndexOf(':')], line[(line.IndexOf(':') + 1)..]);
            Assert.True(asked.TryGetValue(name, out var got), $"'{name}' is not asked for");
            Assert.Equal(shape, got);
        }
    }

    private static void Refused(Action build, string message)
    {
        var error = Assert.Throws<UserError>(build);
        Assert.Contains(message, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }
}
