using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Adapters;

public class AdapterFileTests : IDisposable
{
    private const string Layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    private readonly TempFolder _folder = new();
    private readonly ImageModel _model;

    public AdapterFileTests() => _model = ImageModel.Open(TinyModel.Write(_folder.At("tiny")));

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("a.onnx_adapter")]
    [InlineData("a.safetensors")]
    public void WriteThenOpen_LinearAndConvolution_GivesTheSameDenoiser(string name)
    {
        using var policy = RandomPolicy.Create(_model,
            new LoraOptions { Rank = 3, Alpha = 5, Targets = ["attn1.to_q", "attn2.to_out.0", "resnets.*.conv1", "proj_in"] });
        AdapterFile.Write(policy, _folder.At(name));
        using var opened = Open(name);
        Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(opened), 1e-5);
    }

    [Fact]
    public void Open_OtherRankInALayer_GivesTheSameDenoiser()
    {
        using var policy = RandomPolicy.Create(_model, new LoraOptions { Rank = 4, Targets = ["attn1.to_q", "attn1.to_v"] });
        foreach (var name in policy.Adapters.Names.Where(n =>
            n.Contains("to_v.lora_A"))) policy.Adapters[name][(policy.Adapters[name].Length / 4)..].Clear();
        var layers = Layers(policy).Select(l => !l.Module.EndsWith("to_v", StringComparison.Ordinal) ? l
            : l with { A = First(l.A, 0), B = First(l.B, 1) }).ToList();
        Assert.Equal([1, 4], layers.Select(l => l.Rank).Distinct().Order());
        new AdapterFile(_folder.At("a.safetensors"), layers).Write();
        using var opened = Open("a.safetensors");
        Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(opened), 1e-6);

        static Tensor First(Tensor t, int axis)
        {
            var rows = t.ToFloats();
            return axis == 0 ? Tensor.Of(rows[..(int)t.Dims[1]], 1, t.Dims[1])
                : Tensor.Of([.. rows.Where((_, i) => i % t.Dims[1] == 0)], t.Dims[0], 1);
        }
    }

    [Theory]
    [InlineData("""{"unet.lora_alpha":12,"unet.r":3}""", 4)]
    [InlineData("""{"unet.lora_alpha":12,"unet.r":3,"unet.alpha_pattern":{"to_q":6}}""", 2)]
    [InlineData("""{"unet.lora_alpha":12,"unet.use_rslora":true}""", 6.9282032302755)]
    [InlineData("{}", 1)]
    public void Read_PeftMetadata_ScalesB(string metadata, double scale)
    {
        var (a, b) = (Tensor.Of(new float[48], 3, 16), Tensor.Of([.. Enumerable.Range(0, 48).Select(i => (float)i)], 16, 3));
        SafetensorsFile.Write(_folder.At("a.safetensors"), Whole(a, b),
            new Dictionary<string, string> { ["lora_adapter_metadata"] = metadata });
        var layer = Assert.Single(AdapterFile.Open(_folder.At("a.safetensors")).Layers);
        Assert.Equal(Layer, layer.Module);
        Assert.Equal(47 * scale, layer.B.ToFloats()[47], 1e-4);
    }

    [Fact]
    public void Open_KohyaNames_GivesTheSameDenoiser()
    {
        using var policy = RandomPolicy.Create(_model, new LoraOptions { Rank = 2, Targets = ["to_q", "to_out.0"] });
        var tensors = Layers(policy).SelectMany(l => new[]
        {
            KeyValuePair.Create($"lora_unet_{l.Module.Replace('.', '_')}.lora_down.weight", l.A),
            KeyValuePair.Create($"lora_unet_{l.Module.Replace('.', '_')}.lora_up.weight",
                Tensor.Of([.. l.B.ToFloats().Select(v => v / 3)], l.B.Dims)),
            KeyValuePair.Create($"lora_unet_{l.Module.Replace('.', '_')}.alpha", Tensor.Scalar(6f)),
        });
        SafetensorsFile.Write(_folder.At("k.safetensors"), tensors);
        using var opened = Open("k.safetensors");
        Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(opened), 1e-5);
        SafetensorsFile.Write(_folder.At("k.safetensors"), [KeyValuePair.Create("lora_unet_no_such.lora_down.weight",
            Tensor.Of([1f], 1, 1)), KeyValuePair.Create("lora_unet_no_such.lora_up.weight", Tensor.Of([1f], 1, 1))]);
        Assert.Contains("has no layer for lora_unet_no_such", Fails("k.safetensors"));
        SafetensorsFile.Write(_folder.At("k.safetensors"), [KeyValuePair.Create("lora_te_text_model.alpha", Tensor.Scalar(1f)),
            KeyValuePair.Create("lora_unet_x.alpha", Tensor.Scalar(1f))]);
        Assert.Contains("layers and convolutions of the denoiser", Fails("k.safetensors"));
    }

    [Theory]
    [InlineData("unet.{0}.lora_A.weight", "unet.{0}.lora_B.weight")]
    [InlineData("{0}.lora_A.weight", "{0}.lora_B.weight")]
    [InlineData("base_model.model.{0}.lora_A.weight", "base_model.model.{0}.lora_B.weight")]
    [InlineData("base_model.model.{0}.lora_A.default.weight", "base_model.model.{0}.lora_B.default.weight")]
    [InlineData("unet.{0}.lora.down.weight", "unet.{0}.lora.up.weight")]
    public void Open_NamesOfDiffusersAndPeft_AreTheSameModules(string a, string b)
    {
        foreach (var module in (string[])[Layer, Layer.Replace("to_q", "to_out.0")])
        {
            Assert.Equal(module, Read(string.Format(null, a, module), string.Format(null, b, module)));
            var processor = module.Replace(".to_q", ".processor.to_q_lora").Replace(".to_out.0", ".processor.to_out_lora");
            Assert.Equal(module, Read($"unet.{processor}.down.weight", $"unet.{processor}.up.weight"));
        }

        string Read(string nameA, string nameB)
        {
            SafetensorsFile.Write(_folder.At("a.safetensors"),
                [KeyValuePair.Create(nameA, Tensor.Of(new float[16], 1, 16)), KeyValuePair.Create(nameB, Tensor.Of(new float[16], 16, 1))]);
            return Assert.Single(AdapterFile.Open(_folder.At("a.safetensors")).Layers).Module;
        }
    }

    [Fact]
    public void Open_PeftsOwnFile_TakesAlphaFromTheFileBeside()
    {
        var b = Tensor.Of([.. Enumerable.Range(0, 32).Select(i => (float)i)], 16, 2);
        SafetensorsFile.Write(_folder.At("adapter_model.safetensors"), Whole(Tensor.Of(new float[32], 2, 16), b).Select(t =>
            KeyValuePair.Create("base_model.model." + t.Key["unet.".Length..], t.Value)));
        Assert.Equal(31, Last());
        File.WriteAllText(_folder.At("adapter_config.json"), """{"peft_type":"LORA","r":2,"lora_alpha":6}""");
        Assert.Equal(93, Last());

        float Last() => AdapterFile.Open(_folder.At("adapter_model.safetensors")).Layers[0].B.ToFloats()[31];
    }

    [Fact]
    public void WriteKohya_ThenOpen_LinearAndConvolution_GivesTheSameDenoiser()
    {
        using var policy = RandomPolicy.Create(_model,
            new LoraOptions { Rank = 3, Alpha = 5, Targets = ["attn1.to_q", "attn2.to_out.0", "resnets.*.conv1", "proj_in"] });
        AdapterFile.Of(policy, _folder.At("k.safetensors")).WriteKohya();
        var names = SafetensorsFile.Open(_folder.At("k.safetensors")).Tensors.Keys;
        Assert.Contains("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_down.weight", names);
        Assert.Contains("lora_unet_down_blocks_0_resnets_0_conv1.alpha", names);
        using var opened = Open("k.safetensors");
        Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(opened), 1e-5);
        AdapterFile.Open(_folder.At("k.safetensors")).NamedAs(_model).Write();
        Assert.False(AdapterFile.Open(_folder.At("k.safetensors")).HasKohyaNames);
        Assert.Contains("expected .safetensors",
            Assert.Throws<UserError>(() => AdapterFile.Of(policy, _folder.At("k.bin")).WriteKohya()).Message);
    }

    [Fact]
    public void Open_KohyaNamesOfTheOriginalCode_AreThoseModules()
    {
        var xl = ImageModel.Open(TinyModel.WriteXl(_folder.At("xl")));
        (string Kohya, string Path, int In, int Out)[] layers =
        [
            ("input_blocks_3_1_transformer_blocks_1_attn1_to_q", "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q", 16, 16),
            ("middle_block_1_proj_in", "mid_block.attentions.0.proj_in", 16, 16),
            ("middle_block_2_emb_layers_1", "mid_block.resnets.1.time_emb_proj", 32, 16),
            ("output_blocks_1_1_transformer_blocks_0_attn2_to_k", "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k", 40, 16),
        ];
        SafetensorsFile.Write(_folder.At("k.safetensors"), layers.SelectMany(l => new[]
        {
            KeyValuePair.Create($"lora_unet_{l.Kohya}.lora_down.weight", Tensor.Of(new float[l.In], 1, l.In)),
                KeyValuePair.Create($"lora_unet_{l.Kohya}.lora_up.weight", Tensor.Of(new float[l.Out], l.Out, 1)),
        }));
        Assert.Equal(layers.Select(l => l.Path), AdapterFile.Open(_folder.At("k.safetensors")).NamedAs(xl).Layers.Select(l => l.Module)
            .Order(StringComparer.Ordinal).OrderBy(m => Array.FindIndex(layers, l => l.Path == m)));
        Policy.WithAdapter(xl, AdapterFile.Open(_folder.At("k.safetensors"))).Dispose();
    }

    [Fact]
    public void WithAdapter_Trainable_KeepsTheRankOfEachLayer()
    {
        using var first = RandomPolicy.Create(_model, new LoraOptions { Rank = 3, Alpha = 6, Targets = ["attn1.to_q", "conv1"] });
        using var second = RandomPolicy.Create(_model, new LoraOptions { Rank = 1, Targets = ["attn2.to_v"] });
        new AdapterFile(_folder.At("a.safetensors"), [.. Layers(first), .. Layers(second)]).Write();
        using var open = Open("a.safetensors");
        using var trainable = Policy.WithAdapter(_model, AdapterFile.Open(_folder.At("a.safetensors")), trainable: true);
        var (graph, layers) = trainable.Denoiser(2);
        Assert.Equal([1, 3], layers.Select(l => l.A.Shape!.Sizes[0]).Distinct().Order());
        Assert.All(graph.Nodes, n => Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));
        Numbers.Close(RandomPolicy.Denoise(open), RandomPolicy.Denoise(trainable), 1e-5);
    }

    [Fact, NeedsGolden("sd2-tiny")]
    public void StableDiffusion2_BothNames_MatchReference()
    {
        var folder = GoldenFile.Beside("sd2-tiny")!;
        var golden = SafetensorsFile.Open(Path.Combine(folder, "lora_golden.safetensors"));
        var unet = ComponentFolder.Open(Path.Combine(folder, "unet"), "unet");
        var config = UNet2DConditionConfig.Parse(unet.Config);
        var model = _model with { Denoiser = b => UNet2DConditionModel.Build(config, unet.Weights(), b) };
        using var peft = Policy.WithAdapter(model, AdapterFile.Open(Path.Combine(folder, "lora.safetensors")));
        AdapterFile.Of(peft, _folder.At("ours.safetensors")).WriteKohya();
        Check(peft);
        Check(Policy.WithAdapter(model, AdapterFile.Open(Path.Combine(folder, "lora_kohya.safetensors"))));
        Check(Policy.WithAdapter(model, AdapterFile.Open(_folder.At("ours.safetensors")), trainable: true));

        void Check(Policy policy)
        {
            using var session = new GraphSession(policy.Denoiser("batch").Graph, new SessionSettings { Threads = 1 }).Bind(policy.Adapters);
            using var x = golden["forward.sample"].ToFloats().ToOrt(golden["forward.sample"].Dims);
            using var t = golden["forward.timestep"].ToInt64s().ToOrt(2);
            using var c = golden["forward.encoder_hidden_states"].ToFloats().ToOrt(golden["forward.encoder_hidden_states"].Dims);
            Numbers.Close(golden["forward.output_lora"].ToFloats(),
                session.Run(("sample", x), ("timestep", t), ("encoder_hidden_states", c))["out_sample"], 1e-4);
            policy.Dispose();
        }
    }

    [Fact]
    public void Open_BadFiles_ThrowsForEach()
    {
        Assert.Contains("no such file", Fails("none.safetensors"));
        File.WriteAllText(_folder.At("a.bin"), "");
        Assert.Contains("expected .onnx_adapter or .safetensors, got '.bin'", Fails("a.bin"));
        File.WriteAllBytes(_folder.At("a.onnx_adapter"), new byte[100]);
        Assert.Contains("not an .onnx_adapter file", Fails("a.onnx_adapter"));
        File.WriteAllBytes(_folder.At("a.safetensors"), new byte[100]);
        Assert.Contains("a.safetensors", Fails("a.safetensors"));

        var (a, b) = (Tensor.Of(new float[48], 3, 16), Tensor.Of(new float[48], 16, 3));
        Save([.. Whole(a, b).Take(1)]);
        Assert.Contains("is there without", Fails("a.safetensors"));
        Save([.. Whole(a, Tensor.Of(new float[32], 16, 2))]);
        Assert.Contains("expected [r,in,...] and [out,r,...]", Fails("a.safetensors"));
        Save([.. Whole(Tensor.Of(new float[24], 3, 8), b)]);
        Assert.Contains("takes 16 and gives 16", Fails("a.safetensors"));
        Save([.. Whole(a, b).Select(t => KeyValuePair.Create(t.Key.Replace("to_q", "to_u"), t.Value))]);
        Assert.Contains("attn1.to_u': matches no linear or convolution layer", Fails("a.safetensors"));
        Save([.. Whole(a, b).Select(t => KeyValuePair.Create(t.Key.Replace(Layer, "to_q"), t.Value))]);
        Assert.Contains("whole module paths", Fails("a.safetensors"));
        Save([.. Whole(a, b), KeyValuePair.Create("text_encoder.x.lora_A.weight", a),
            KeyValuePair.Create("text_encoder.x.lora_B.weight", b)]);
        Assert.Contains("does not fit text_encoder", Fails("a.safetensors"));
        Save([]);
        Assert.Contains("no tensors", Fails("a.safetensors"));
        Save([.. Whole(a, b)], "[]");
        Assert.Contains("not a JSON object", Fails("a.safetensors"));
        Save([.. Whole(a, b)], """{"unet.use_dora":true}""");
        Assert.Contains("use_dora", Fails("a.safetensors"));

        void Save(KeyValuePair<string, Tensor>[] tensors, string metadata = "{}") =>
            SafetensorsFile.Write(_folder.At("a.safetensors"), tensors,
                new Dictionary<string, string> { ["lora_adapter_metadata"] = metadata });
    }

    private static IEnumerable<KeyValuePair<string, Tensor>> Whole(Tensor a, Tensor b) =>
        [KeyValuePair.Create($"unet.{Layer}.lora_A.weight", a), KeyValuePair.Create($"unet.{Layer}.lora_B.weight", b)];

    private static IEnumerable<AdapterLayer> Layers(Policy policy)
    {
        using var folder = new TempFolder();
        AdapterFile.Write(policy, folder.At("all.onnx_adapter"));
        return AdapterFile.Open(folder.At("all.onnx_adapter")).Layers;
    }

    private Policy Open(string name) => Policy.WithAdapter(_model, AdapterFile.Open(_folder.At(name)));

    private string Fails(string name)
    {
        var message = Assert.Throws<UserError>(() => Open(name).Dispose()).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }
}
