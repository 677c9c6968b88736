using System.Text;
using OrtRlhf.Graph;
using OrtRlhf.Tests;

namespace OrtRlhf.Models.Tests.Checkpoints;

/// <summary>Every text file of a checkpoint, damaged at random with a fixed seed: taken or refused in one line, nothing else.</summary>
[Trait(Soak.Trait, "damage")]
public sealed class CheckpointFuzzTests : IDisposable
{
    private static readonly string[] Pieces =
    [
        "null", "true", "-1", "0", "1e400", "9223372036854775807", "2147483648", "0.5", "\"\"", "\"\\ud800\"", "[]", "{}", "[null]",
            "[[1]]", "{\"a\":[]}", "\"x\"", ",", ":", "[", "]", "{", "}", "\u0000", "\\u", "1e-320",
    ];

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(Zeros.UNet)]
    [InlineData(Zeros.Text)]
    [InlineData(Zeros.Vae)]
    [InlineData(
        """{"_class_name":"UNet2DModel","block_out_channels":[8,16],"layers_per_block":1,"norm_num_groups":4,"attention_head_dim":4,"down_block_types":["DownBlock2D","AttnDownBlock2D"],"up_block_types":["AttnUpBlock2D","UpBlock2D"]}""")]
    [InlineData(
        """{"_class_name":"AutoencoderTiny","encoder_block_out_channels":[8,8],"decoder_block_out_channels":[8,8],"num_encoder_blocks":[0,1],"num_decoder_blocks":[1,1]}""")]
    [InlineData(
        """{"architectures":["CLIPModel"],"projection_dim":8,"text_config":{"vocab_size":54,"hidden_size":16,"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":12},"vision_config":{"hidden_size":16,"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"image_size":8,"patch_size":4}}""")]
    [InlineData(
        """{"_class_name":"SD3Transformer2DModel","num_layers":2,"attention_head_dim":4,"num_attention_heads":2,"caption_projection_dim":8,"pos_embed_max_size":4,"in_channels":4,"out_channels":4,"joint_attention_dim":8,"pooled_projection_dim":8,"dual_attention_layers":[0],"qk_norm":"rms_norm"}""")]
    [InlineData(
        """{"_class_name":"FluxTransformer2DModel","num_layers":1,"num_single_layers":1,"attention_head_dim":8,"num_attention_heads":2,"axes_dims_rope":[2,2,4],"in_channels":4,"joint_attention_dim":8,"pooled_projection_dim":8,"guidance_embeds":true}""")]
    [InlineData(
        """{"architectures":["T5EncoderModel"],"vocab_size":20,"d_model":8,"d_kv":4,"d_ff":16,"num_heads":2,"num_layers":1,"feed_forward_proj":"gated-gelu"}""")]
    public void Configuration(string config)
    {
        Zeros.Write(_folder.Path, config);
        Survives("config.json", 120, () => ImportPlan.Make(_folder.Path, new ImportOptions()));
    }

    [Fact]
    public void Index()
    {
        Zeros.Write(_folder.At("unet"), Zeros.UNet);
        File.WriteAllText(_folder.At("model_index.json"),
            """{"_class_name":"P","unet":["diffusers","UNet2DConditionModel"],"safety_checker":[null,null],"scale":1.5}""");
        Survives("model_index.json", 120, () => ImportPlan.Make(_folder.Path, new ImportOptions()));
    }

    [Fact]
    public void SplitWeights()
    {
        Zeros.Write(_folder.Path, Zeros.Text, split: true);
        Survives("model.safetensors.index.json", 100, () => ImportPlan.Make(_folder.Path, new ImportOptions()));
    }

    [Theory]
    [InlineData("vocab.json")]
    [InlineData("merges.txt")]
    [InlineData("tokenizer_config.json")]
    [InlineData("special_tokens_map.json")]
    [InlineData("added_tokens.json")]
    public void Tokenizer(string file)
    {
        foreach (var (name, text) in new[]
        {
            ("vocab.json", """{"a":0,"b</w>":1,"ab</w>":2,"<|startoftext|>":3,"<|endoftext|>":4,"!":5}"""),
                ("merges.txt", "#version: 0.2\na b</w>\n"),
            ("tokenizer_config.json", """{"model_max_length":12,"pad_token":"!","added_tokens_decoder":{"7":{"content":"<x>"}}}"""),
            ("special_tokens_map.json",
                """{"bos_token":{"content":"<|startoftext|>","lstrip":false},"eos_token":"<|endoftext|>","additional_special_tokens":["<y>"]}"""), ("added_tokens.json", """{"<y>":8}"""),
        }) File.WriteAllText(_folder.At(name), text);
        Assert.Equal([3, 2, 5, 7, 8, 4], ClipTokenizer.Open(_folder.Path).EncodeUnpadded("ab!<x><y>"));
        Survives(file, 400, () => ClipTokenizer.Open(_folder.Path).Encode("ab a!<x> \u00e9<|endoftext|>"));
    }

    [Fact]
    public void UnigramTokenizerFile()
    {
        File.WriteAllText(_folder.At("tokenizer.json"), Tokenizers.UnigramTokenizerTests.Json.Replace("MAP", "CAAAAABBAAABAgMEaGUA"));
        Survives("tokenizer.json", 400, () => UnigramTokenizer.Open(_folder.Path).Encode("hello <extra_id_0> \u00e9"));
    }

    private void Survives(string file, int times, Action read)
    {
        var count = times * Soak.Times(1, 50);
        var path = _folder.At(file);
        var whole = File.ReadAllText(path);
        var random = new Random(20261121);
        var taken = 0;
        for (var round = 0; round < count; round++)
        {
            var text = new StringBuilder(whole);
            for (var change = random.Next(1, 4); change > 0; change--)
            {
                var place = random.Next(text.Length);
                var length = Math.Min(random.Next(8), text.Length - place);
                if (random.Next(3) > 0) text.Remove(place, length);
                if (random.Next(3) > 0) text.Insert(place, Pieces[random.Next(Pieces.Length)]);
                if (random.Next(4) == 0) Value(text, random);
                if (text.Length == 0) text.Append(' ');
            }
            File.WriteAllText(path, text.ToString());
            if (Record.Exception(read) is not { } fault)
            {
                taken++;
                continue;
            }
            Assert.True(fault is UserError, $"{text}\n{fault}");
            Assert.DoesNotContain('\n', fault.Message);
        }
        Assert.True(taken < count, "no file was damaged");
        File.WriteAllText(path, whole);
        read();
    }

    /// <summary>Puts a piece in place of a whole value, so that the JSON stays valid.</summary>
    private static void Value(StringBuilder text, Random random)
    {
        var all = text.ToString();
        var colons = Enumerable.Range(0, all.Length).Where(i => all[i] == ':').ToArray();
        if (colons.Length == 0) return;
        var start = colons[random.Next(colons.Length)] + 1;
        var end = all.AsSpan(start).IndexOfAny(',', '}') is >= 0 and var length ? start + length : all.Length;
        text.Remove(start, end - start).Insert(start, Pieces[random.Next(16)]);
    }
}
