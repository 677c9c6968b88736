using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Models;

/// <summary>Adapters with layers of text encoders, against weights that are merged by hand.</summary>
public sealed class TextAdapterTests : IDisposable
{
    private const string Unet = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    private static readonly SessionSettings OneThread = new() { Threads = 1 };
    private static readonly string[] TextModules = ["text_model.encoder.layers.0.self_attn.q_proj",
        "text_model.encoder.layers.0.self_attn.out_proj", "text_model.encoder.layers.0.mlp.fc1"];

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Kohya_ActsAsWeightsMergedByHand_AndComesBackInEachFormat()
    {
        var model = ImageModel.Open(TinyModel.Write(_folder.At("model")));
        var expected = States(ImageModel.Open(MergedByHand("text_encoder", factor: 3)));
        Assert.True(Numbers.Error(expected, States(model)) > 0.05, "the adapter changes nothing, so that the test shows nothing");

        // alpha 6 of rank 2: a factor of 3.
        Save("k.safetensors", [.. TextModules.SelectMany((m, i) => Kohya("lora_te_" + m.Replace('.', '_'), i, alpha: 6)),
            .. Kohya("lora_unet_" + Unet.Replace('.', '_'), 9, 2, 16, 16)]);
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(_folder.At("k.safetensors")));
        Numbers.Close(expected, States(policy.Model), 1e-5);
        Assert.Single(policy.Lora.Targets);

        AdapterFile.Of(policy, _folder.At("ours-kohya.safetensors")).WriteKohya();
        Assert.Contains("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",
            SafetensorsFile.Open(_folder.At("ours-kohya.safetensors")).Tensors.Keys);
        foreach (var name in (string[])["ours.safetensors", "ours.onnx_adapter"]) AdapterFile.Write(policy, _folder.At(name));
        Assert.Contains("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
            SafetensorsFile.Open(_folder.At("ours.safetensors")).Tensors.Keys);
        Assert.All(OnnxAdapter.Read(_folder.At("ours.onnx_adapter")).Parameters, p => Assert.StartsWith("unet.", p.Name));
        Assert.All(OnnxAdapter.Read(_folder.At("ours.text_encoder.onnx_adapter")).Parameters, p =>
            Assert.StartsWith("text_encoder.", p.Name));
        foreach (var name in (string[])["ours-kohya.safetensors", "ours.safetensors", "ours.onnx_adapter"])
        {
            using var again = Policy.WithAdapter(model, AdapterFile.Open(_folder.At(name)));
            Numbers.Close(expected, States(again.Model), 1e-5);
            Numbers.Close(RandomPolicy.Denoise(policy), RandomPolicy.Denoise(again), 1e-5);
        }

        // An adapter without text that is written over one with it leaves none behind.
        using var plain = Policy.Create(model, new() { Targets = ["attn1.to_q"] }, 1);
        AdapterFile.Write(plain, _folder.At("ours.onnx_adapter"));
        Assert.Empty(AdapterFile.Open(_folder.At("ours.onnx_adapter")).TextLayers);

        MergedModel.Write(model, AdapterFile.Open(_folder.At("k.safetensors")), _folder.At("merged"));
        Numbers.Close(expected, States(ImageModel.Open(_folder.At("merged"))), 1e-5);
    }

    [Fact]
    public void Export_TakesThem_MergedStaysAnExport()
    {
        var hand = MergedByHand("text_encoder", factor: 1);
        var model = ImageModel.Open(TinyModel.Export(TinyModel.Write(_folder.At("model"))));
        Save("a.safetensors", [.. TextModules.SelectMany((m, i) => Peft("text_encoder." + m, i))]);
        var expected = States(ImageModel.Open(hand));
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(_folder.At("a.safetensors")));
        Numbers.Close(expected, States(policy.Model), 1e-5);
        MergedModel.Write(model, AdapterFile.Open(_folder.At("a.safetensors")), _folder.At("merged"));
        Assert.True(File.Exists(_folder.At("merged", "text_encoder", "model.onnx")));
        Numbers.Close(expected, States(ImageModel.Open(_folder.At("merged"))), 1e-5);
    }

    [Fact]
    public void Pipeline_AsBase_TakesTheTextEncodersWithoutThem()
    {
        var model = ImageModel.Open(TinyModel.Write(_folder.At("model")));
        Save("a.safetensors", [.. TextModules.SelectMany((m, i) => Peft("text_encoder." + m, i))]);
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(_folder.At("a.safetensors")));
        using var bare = Policy.OfBase(model);
        var options = new SamplingOptions { Steps = 2, GuidanceScale = 3, Eta = 1 };
        using var pipeline = new Pipeline(policy, options, OneThread);
        using var reference = new Pipeline(bare, options, OneThread);
        SampleRequest[] requests = [new("a cat", 1, 0, 0), new("a dog", 2, 0, 0)];
        var expected = Latents(reference.Sample(requests));
        SampledImage[] asBase = [];
        Assert.True(Numbers.Error(expected, Latents(pipeline.Sample(requests))) > 1e-3, "the adapter changes nothing");
        policy.AsBase(() => asBase = pipeline.Sample(requests));
        Assert.Equal(expected, Latents(asBase));
        var tuned = pipeline.Sample(requests);
        Assert.True(Numbers.Error(expected, Latents(tuned)) > 1e-3, "the adapter is gone");
        Assert.True(pipeline.Kl([.. tuned.Select(t => t.Trajectory)]) > 0, "KL is to the model without adapters");

        static float[] Latents(SampledImage[] images) => [.. images.SelectMany(i => i.Trajectory.Latent(i.Trajectory.Steps).ToArray())];
    }

    [Fact]
    public void Tune_GoesOnWithTheDenoisers_KeepsTheText()
    {
        var model = ImageModel.Open(TinyRun.Model);
        Save("k.safetensors", [.. TextModules.SelectMany((m, i) => Kohya("lora_te_" + m.Replace('.', '_'), i, alpha: 6)),
            .. Kohya("lora_unet_" + Unet.Replace('.', '_'), 9, 2, 16, 16)]);
        var options = TinyRun.Options(_folder, "run") with { Epochs = 1, InitAdapter = _folder.At("k.safetensors") };
        TuningRun.Execute(options, TinyRun.Environment);
        var given = AdapterFile.Open(_folder.At("k.safetensors")).NamedAs(model);
        foreach (var name in (string[])["adapter.safetensors", "adapter.onnx_adapter"])
        {
            var got = AdapterFile.Open(Path.Combine(new RunFolder(options.Output).Adapter, name));
            Assert.Equal([Unet], got.Layers.Select(l => l.Module));
            foreach (var (before, after) in given.TextLayers.OrderBy(l => l.Module).Zip(got.TextLayers.OrderBy(l => l.Module)))
            {
                Assert.Equal((before.Component, before.Module), (after.Component, after.Module));
                Assert.Equal(before.B.ToFloats(), after.B.ToFloats());
            }
            Assert.True(Numbers.Error(given.Layers[0].B.ToFloats(), got.Layers[0].B.ToFloats()) > 1e-4, "nothing was trained");
        }
        Save("text.safetensors", [.. TextModules.SelectMany((m, i) => Peft("text_encoder." + m, i))]);
        Assert.Contains("layers of text encoders only",
            TinyRun.Fails(options with { Output = _folder.At("none"), InitAdapter = _folder.At("text.safetensors") }).Message);
    }

    [Fact]
    public void Xl_BothEncoders_InKohyasNames_ClipSkipLeavesLayersOut()
    {
        var folder = TinyModel.WriteXl(_folder.At("model"));
        var model = ImageModel.Open(folder);
        string first = "text_model.encoder.layers.2.self_attn.v_proj", second = "text_model.encoder.layers.0.self_attn.v_proj";
        Save("k.safetensors", [.. Kohya("lora_te1_" + first.Replace('.', '_'), 1, 2, 16, 16),
            .. Kohya("lora_te2_" + second.Replace('.', '_'), 2, 2, 24, 24), .. Kohya("lora_te2_text_projection", 3, 2, 24, 8)]);
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(_folder.At("k.safetensors")));
        Assert.Equal([("text_encoder", first), ("text_encoder_2", second), ("text_encoder_2", "text_projection")],
            policy.TextLayers.Select(l => (l.Component, l.Module)).Order());
        AdapterFile.Of(policy, _folder.At("ours.safetensors")).WriteKohya();
        Assert.Contains("lora_te1_text_model_encoder_layers_2_self_attn_v_proj.alpha",
            SafetensorsFile.Open(_folder.At("ours.safetensors")).Tensors.Keys);
        using var text = new TextEmbeddings(policy.Model, OneThread);
        using var bare = new TextEmbeddings(model, OneThread);
        var (a, b) = (text.Of("a cat"), bare.Of("a cat"));
        // The first encoder's last layer is not used by XL; the second one's first layer and projection are.
        for (var row = 0; row < text.Length; row++) Assert.Equal(b[0][(row * 40)..((row * 40) + 16)], a[0][(row * 40)..((row * 40) + 16)]);
        Assert.True(Numbers.Error(b[0], a[0]) > 1e-3 && Numbers.Error(b[1], a[1]) > 1e-3);

        // Stable Diffusion 1 with clip-skip has no last layer: an adapter's layer there does nothing.
        var skipped = ImageModel.Open(folder, new() { ClipSkip = 1 });
        Policy.WithAdapter(skipped, AdapterFile.Open(_folder.At("k.safetensors"))).Dispose();
    }

    [Fact]
    public void OlderNames_AndPeftsAlpha_AreUnderstood()
    {
        var (a, b) = (Random(0, 2, 16), Random(1, 16, 2));
        foreach (var (down, up) in new[] { ("self_attn.out_proj.lora_linear_layer.down.weight",
            "self_attn.out_proj.lora_linear_layer.up.weight"), ("self_attn.to_out_lora.down.weight", "self_attn.to_out_lora.up.weight") })
        {
            Save("a.safetensors", [KeyValuePair.Create("text_encoder.text_model.encoder.layers.0." + down, a),
                KeyValuePair.Create("text_encoder.text_model.encoder.layers.0." + up, b)]);
            Assert.Equal("text_model.encoder.layers.0.self_attn.out_proj",
                Assert.Single(AdapterFile.Open(_folder.At("a.safetensors")).TextLayers).Module);
        }
        Save("a.safetensors", [.. Peft("text_encoder." + TextModules[0], 0), .. Peft("unet." + Unet, 1)],
            """{"unet.lora_alpha":2,"unet.r":2,"text_encoder.lora_alpha":10,"text_encoder.r":2}""");
        var file = AdapterFile.Open(_folder.At("a.safetensors"));
        Assert.Equal(Random(1001, 16, 2).ToFloats()[0], file.Layers[0].B.ToFloats()[0], 1e-6);
        Assert.Equal(5 * Random(1000, 16, 2).ToFloats()[0], file.TextLayers[0].B.ToFloats()[0], 1e-5);
        Save("a.safetensors", [.. Peft("base_model.model." + TextModules[0], 0)]);
        Assert.Equal("text_encoder", Assert.Single(AdapterFile.Open(_folder.At("a.safetensors")).TextLayers).Component);
    }

    [Fact]
    public void WhatDoesNotFit_ThrowsUserError()
    {
        var model = ImageModel.Open(TinyModel.Write(_folder.At("model")));
        Assert.Contains("has layers of text_encoder_2, but model 'model' has text_encoder",
            Fails(model, Peft("text_encoder_2." + TextModules[0], 0)));
        Assert.Contains("does not fit text_encoder of model 'model'",
            Fails(model, Peft("text_encoder.text_model.encoder.layers.0.self_attn.w_proj", 0)));
        Assert.Contains("belongs to another model", Fails(model, Peft("text_encoder." + TextModules[0], 0, 2, 24, 16)));
        Assert.Contains("has no text encoder",
            Fails(ImageModel.Open(TinyModel.WriteUnconditional(_folder.At("plain"))), Peft("text_encoder." + TextModules[0], 0)));
        Assert.Contains("got 'lora_te_text_model_embeddings.lora_down.weight'", Fails(model, Kohya("lora_te_text_model_embeddings", 0)));
        Assert.Contains("layers of unet, transformer, text_encoder, text_encoder_2",
            Fails(model, Peft("image_encoder." + TextModules[0], 0).Concat(Peft("unet." + Unet, 1))));

        string Fails(ImageModel at, IEnumerable<KeyValuePair<string, Tensor>> tensors)
        {
            Save("bad.safetensors", [.. tensors]);
            var error = Assert.Throws<UserError>(() => Policy.WithAdapter(at, AdapterFile.Open(_folder.At("bad.safetensors"))));
            Assert.DoesNotContain('\n', error.Message);
            return error.Message;
        }
    }

    // The model whose text encoder has W + factor B A for weights.
    private string MergedByHand(string component, float factor)
    {
        var folder = TinyModel.Write(_folder.At("by-hand"));
        var path = Path.Combine(folder, component, "model.safetensors");
        var tensors = SafetensorsFile.Open(path).Tensors.ToDictionary(t => t.Key, t => t.Value.ToFloats());
        var dims = SafetensorsFile.Open(path).Tensors.ToDictionary(t => t.Key, t => t.Value.Dims);
        foreach (var (module, i) in TextModules.Select((m, i) => (m, i)))
        {
            var weight = tensors[module + ".weight"];
            var (rows, columns) = ((int)dims[module + ".weight"][0], (int)dims[module + ".weight"][1]);
            float[] a = Random(i, 2, columns).ToFloats(), b = Random(1000 + i, rows, 2).ToFloats();
            for (var r = 0; r < rows; r++)
                for (var c = 0; c < columns; c++) weight[(r * columns) + c] += factor * ((b[2 * r] * a[c])
                    + (b[(2 * r) + 1] * a[columns + c]));
        }
        SafetensorsFile.Write(path, tensors.Select(t => KeyValuePair.Create(t.Key, Tensor.Of(t.Value, dims[t.Key]))));
        return folder;
    }

    private static IEnumerable<KeyValuePair<string, Tensor>> Kohya(string name, int seed, double alpha = 2) =>
        Kohya(name, seed, alpha, 16, name.Contains("fc1", StringComparison.Ordinal) ? 32 : 16);

    private static IEnumerable<KeyValuePair<string, Tensor>> Kohya(string name, int seed, double alpha, int inputs, int outputs) =>
        [KeyValuePair.Create(name + ".lora_down.weight", Random(seed, 2, inputs)), KeyValuePair.Create(name + ".lora_up.weight",
            Random(1000 + seed, outputs, 2)), KeyValuePair.Create(name + ".alpha", Tensor.Scalar((float)alpha))];

    private static IEnumerable<KeyValuePair<string, Tensor>> Peft(string name, int seed, int rank = 2, int inputs = 16, int outputs = 16) =>
        [KeyValuePair.Create(name + ".lora_A.weight", Random(seed, rank, inputs)), KeyValuePair.Create(name + ".lora_B.weight",
            Random(1000 + seed, name.Contains("fc1", StringComparison.Ordinal) ? 32 : outputs, rank))];

    private static Tensor Random(int seed, params long[] dims)
    {
        var values = new float[dims[0] * dims[1]];
        new Philox(5, 0, (uint)seed, 0).FillGaussian(values);
        return Tensor.Of([.. values.Select(v => 0.3f * v)], dims);
    }

    private void Save(string name, KeyValuePair<string, Tensor>[] tensors, string? metadata = null) =>
        SafetensorsFile.Write(_folder.At(name), tensors, metadata is null ? null
            : new Dictionary<string, string> { ["lora_adapter_metadata"] = metadata });

    private static float[] States(ImageModel model)
    {
        using var text = new TextEmbeddings(model, OneThread);
        return text["a cat"];
    }
}
