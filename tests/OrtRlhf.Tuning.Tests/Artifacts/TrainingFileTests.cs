using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Artifacts;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Tests.Artifacts;

/// <summary>
/// Training files as anyone would run them: written, loaded by plain ONNX Runtime, fed by name; gradients against PyTorch's autograd.
/// </summary>
public class TrainingFileTests
{
    private const string Sd2 = "sd2-tiny/unet/diffusion_pytorch_model.safetensors",
        Ddpm = "ddpm-tiny/unet/diffusion_pytorch_model.safetensors",
        Sdxl = "sdxl-tiny/unet/diffusion_pytorch_model.safetensors";
    internal static readonly LoraOptions Lora = new() { Rank = 4, Alpha = 8 };

    [Theory]
    [InlineData("mse")]
    [InlineData("ddpo")]
    [InlineData("dpo")]
    public void StableDiffusion1_Gradients_MatchReference(string method) => Matches("sd1-tiny", Golden.At("sd1-tiny"), method);

    [Theory]
    [InlineData("mse")]
    [InlineData("ddpo")]
    [InlineData("dpo")]
    public void StableDiffusion1_Halves_GradientsMatchReference(string method) =>
        Matches("sd1-tiny", Golden.At("sd1-tiny"), method, Precision.Fp16);

    // Read as it is, and read to be kept in halves again.
    [Theory]
    [InlineData("mse")]
    [InlineData("ddpo")]
    [InlineData("dpo")]
    public void StableDiffusion1_ImportedInHalves_GradientsMatchReference(string method)
    {
        using var folder = new TempFolder();
        CheckpointImport.Write(ImportPlan.Make(Golden.At("sd1-tiny"), new ImportOptions { Type = ElementType.Float16 }), folder.At("onnx"));
        foreach (var dtype in (Precision[])[Precision.Fp32, Precision.Fp16]) Matches("sd1-tiny", folder.At("onnx"), method, dtype,
            fileInHalves: true);
    }

    [Fact, NeedsGolden(Sd2)]
    public void StableDiffusion2_ImportedInHalves_GradientsMatchReference()
    {
        using var folder = new TempFolder();
        CheckpointImport.Write(ImportPlan.Make(Golden.At("sd2-tiny/unet"), new ImportOptions { Type = ElementType.Float16 }),
            folder.At("onnx"));
        foreach (var method in (string[])["mse", "ddpo", "dpo"]) Matches("sd2-tiny", folder.At("onnx"), method, fileInHalves: true);
    }

    [Fact, NeedsGolden(Sd2)]
    public void StableDiffusion2_Halves_GradientsMatchReference()
    {
        foreach (var method in (string[])["mse", "ddpo", "dpo"]) Matches("sd2-tiny", Golden.At("sd2-tiny/unet"), method, Precision.Fp16);
    }

    [Fact, NeedsGolden(Sd2)]
    public void StableDiffusion2_BareUnet_Gradients_MatchReference()
    {
        foreach (var method in (string[])["mse", "ddpo", "dpo"]) Matches("sd2-tiny", Golden.At("sd2-tiny/unet"), method);
    }

    [Fact]
    public void OptimumExport_Gradients_MatchReference()
    {
        using var folder = new TempFolder();
        CheckpointImport.Write(ImportPlan.Make(Golden.At("sd1-tiny"), new ImportOptions()), folder.At("onnx"));
        Matches("sd1-tiny", folder.At("onnx"), "ddpo");
    }

    [Fact]
    public void PyTorchExport_Gradients_MatchReference()
    {
        var golden = Golden.Tensors("torch/unet-opset17/golden.safetensors");
        var lora = Golden.Tensors("torch/unet-opset17/lora.safetensors");
        var options = new TrainingFileOptions
        {
            Method = TuningMethods.TrainingFile("mse"),
            BatchSize = 2,
            Lora = Lora with { Targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"] },
            Sizes = new DenoiserSizes(TextTokens: 5),
        };
        var steps = golden["timestep"].ToInt64s();
        var results = Run(Golden.At("torch/unet-opset17"), options,
            [("sample", golden["sample"]), ("timestep", Tensor.Vector(steps[0], steps[^1])),
                ("encoder_hidden_states", golden["encoder_hidden_states"]), ("target", golden["target"]), .. Named(lora)]);
        foreach (var name in lora.Tensors.Keys) Golden.Close(results[name + "_grad"], golden["lora.grad." + name]);
    }

    [Fact, NeedsGolden(Ddpm)]
    public void Ddpm_AllWeights_GradientsMatchReference()
    {
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        var expected = Golden.Tensors("ddpm-tiny/grads.safetensors");
        var results = Run(Golden.At("ddpm-tiny/unet"),
            new TrainingFileOptions { Method = TuningMethods.TrainingFile("mse"), BatchSize = 2, AllWeights = true },
            [("sample", golden["train.x_t"]), ("timestep", golden["train.timestep"]), ("target", golden["train.target"])]);
        Assert.Equal(1.8561917657246052, results["loss"].ToFloats()[0], 1e-5);
        EveryWeightMatches(expected, results);
    }

    // Weights that are trained are single; a checkpoint of halves is where they begin.
    [Fact, NeedsGolden(Ddpm)]
    public void Ddpm_AllWeights_CheckpointInHalves_GradientsMatchReference()
    {
        using var folder = new TempFolder();
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        File.WriteAllText(folder.At("config.json"), Golden.Text("ddpm-tiny/unet/config.json"));
        SafetensorsFile.Write(folder.At("diffusion_pytorch_model.safetensors"),
            Golden.Tensors(Ddpm).Tensors.Select(t => KeyValuePair.Create(t.Key, t.Value.As(ElementType.Float16))));
        var results = Run(folder.Path,
            new TrainingFileOptions { Method = TuningMethods.TrainingFile("mse"), BatchSize = 2, AllWeights = true },
            [("sample", golden["train.x_t"]), ("timestep", golden["train.timestep"]), ("target", golden["train.target"])]);
        EveryWeightMatches(Golden.Tensors("ddpm-tiny/grads.safetensors"), results, 1e-2);
    }

    // A transition to x' = 2 target - m with cX = 0, cM = sigma = 1, ratio 1 and advantage 1 has the gradient of the denoising loss: d/dm
    // of -mean log p is
    // (m - x')/N = 2 (m - target)/N. So PyTorch's gradients of the one are those of the other.
    [Fact, NeedsGolden(Ddpm)]
    public void Ddpm_AllWeights_PolicyGradientsMatchReference()
    {
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        var (sample, target) = (golden["train.x_t"], golden["train.target"].ToFloats());
        var unet = UNet2DModel.Build(UNet2DConfig.Parse(Golden.Text("ddpm-tiny/unet/config.json")), Golden.WeightsOf(Ddpm), 2,
            sample.Dims[2], sample.Dims[3]);
        var m = Ort.Run(unet, ("sample", sample), ("timestep", golden["train.timestep"]))["out_sample"].ToFloats();
        var next = Tensor.Of([.. target.Zip(m, (t, o) => (2 * t) - o)], sample.Dims);
        var old = Enumerable.Range(0, 2).Select(row =>
            (float)(-(0.5 * Math.Log(2 * Math.PI)) - Part(row).Average(i => 2 * Math.Pow(target[i] - m[i], 2)))).ToArray();
        var results = Run(Golden.At("ddpm-tiny/unet"),
            new TrainingFileOptions { Method = TuningMethods.TrainingFile("ddpo"), BatchSize = 2, AllWeights = true },
            [("sample", sample), ("timestep", golden["train.timestep"]), ("next_sample", next), ("c_x", Two(0)), ("c_m", Two(1)),
                ("sigma", Two(1)), ("old_log_prob", Tensor.Of(old, 2)), ("advantage", Two(1))]);
        Assert.Equal(-1, results["loss"].ToFloats()[0], 1e-5);
        EveryWeightMatches(Golden.Tensors("ddpm-tiny/grads.safetensors"), results);

        IEnumerable<int> Part(int row) => Enumerable.Range(row * (m.Length / 2), m.Length / 2);
    }

    // The reference has no gradients of Stable Diffusion XL: the loss is compared with its outputs, the gradients with differences of the
    // loss.
    [Theory, NeedsGolden(Sdxl)]
    [InlineData("mse")]
    [InlineData("ddpo")]
    [InlineData("d3po")]
    [InlineData("dpo")]
    public void StableDiffusionXl_LossMatchesReference_GradientsMatchDifferences(string method)
    {
        var golden = Golden.Tensors("sdxl-tiny/golden.safetensors");
        var options = new TrainingFileOptions
        {
            Method = TuningMethods.TrainingFile(method),
            BatchSize = 2,
            GuidanceScale = 1,
            ClipRange = method == "ddpo" ? 0.9 : null,
            Beta = method == "dpo" ? 3 : null,
            Lora = Lora
        };
        var (m, target) = (golden["unet.mixed.output"].ToFloats(), golden["unet.output.1"]);
        var error = m.Zip(target.ToFloats(), (a, b) => Math.Pow(a - b, 2)).Average();
        (string, Tensor)[] fields =
        [
            ("sample", golden["unet.sample"]), ("timestep", golden["unet.mixed.timestep"]),
                ("encoder_hidden_states", golden["unet.encoder_hidden_states"]),
            ("text_embeds", golden["unet.text_embeds"]), ("time_ids", golden["unet.time_ids"]),
            .. method is "ddpo" or "d3po"
                ? new[] { ("next_sample", target), ("c_x", Two(0)), ("c_m", Two(1)), ("sigma", Two(1)),
                    ("old_log_prob", Two((float)(-(0.5 * Math.Log(2 * Math.PI)) - (error / 2)))), ("advantage", Two(0.7f)) }
                : [("target", target)],
        ];
        using var folder = new TempFolder();
        var file = TrainingFile.Build(TrainingDenoiser.Open(Golden.At("sdxl-tiny/unet")), options);
        OnnxFile.Write(file.Graph, folder.At("training_model.onnx"));
        using var settings = Ort.Options();
        using var session = new InferenceSession(folder.At("training_model.onnx"), settings);
        var start = Ort.Run(session, [.. fields, .. file.Parameters]);
        if (method == "mse") Assert.Equal(error, start["loss"].ToFloats()[0], 1e-4 * error);
        else if (method == "dpo") Assert.Equal(Math.Log(2), start["loss"].ToFloats()[0], 1e-5);
        else if (method == "d3po") Assert.Equal(0.7 * Math.Log(2), start["loss"].ToFloats()[0], 1e-5);
        else Assert.Equal(-(0.5 * Math.Log(2 * Math.PI)) - (error / 2), start["log_prob"].ToFloats().Average(), 1e-4 * error);

        // At a place where B is not zero, along a random direction.
        var random = new Random(3);
        var at = file.Parameters.Select(p => (p.Name,
            Data: p.Initial.ToFloats().Select(_ => (float)(0.2 * (random.NextDouble() - 0.5))).ToArray(), p.Initial.Dims)).ToList();
        var along = at.Select(p => p.Data.Select(_ => (float)(random.NextDouble() - 0.5)).ToArray()).ToList();
        var slope = At(0).Gradients.Zip(along, (g, d) => g.Zip(d, (a, b) => (double)a * b).Sum()).Sum();
        const double Step = 2e-3;
        var difference = (At(Step).Loss - At(-Step).Loss) / (2 * Step);
        Assert.True(Math.Abs(slope) > 1e-3 && Math.Abs(difference - slope) < 0.01 * Math.Abs(slope),
            $"gradient along a direction {slope:E3}, difference of losses {difference:E3}");

        (double Loss, List<float[]> Gradients) At(double step)
        {
            var moved = at.Zip(along, (p, d) => (p.Name, Tensor.Of([.. p.Data.Zip(d, (a, b) => (float)(a + (step * b)))], p.Dims)));
            var results = Ort.Run(session, [.. fields, .. moved]);
            return (results["loss"].ToFloats()[0], [.. at.Select(p => results[p.Name + "_grad"].ToFloats())]);
        }
    }

    [Fact]
    public void Kto_And_KlWeight_RunAndBeginAtTheReference()
    {
        using var folder = new TempFolder();
        var model = TrainingDenoiser.Open(TinyModel.Write(folder.At("model")));
        foreach (var (method, kl) in new[] { ("kto", 0.0), ("ipo", 0.0), ("ddpo", 0.5), ("reinforce", 0.5) })
        {
            var file = TrainingFile.Build(model, new TrainingFileOptions
            {
                Method = TuningMethods.TrainingFile(method),
                BatchSize = 2,
                KlWeight = kl > 0 ? kl : null,
                Sizes = new DenoiserSizes(TextTokens: TinyModel.Tokens)
            });
            var feeds = file.Graph.Inputs.Where(i => !i.Name.Contains(".lora_", StringComparison.Ordinal)).Select(i => (i.Name, Ones(i)))
                .ToList();
            var results = Ort.Run(file.Graph, [.. feeds, .. file.Parameters]);
            // B is zero: the model is its own reference, the gradient of A is zero and that of B is not.
            if (kl == 0) Assert.Equal(results["reference_mse"].ToFloats()[0], results["mse"].ToFloats()[0], 1e-6);
            else Assert.Equal(0, results["kl"].ToFloats()[0], 1e-8);
            Assert.True(float.IsFinite(results["loss"].ToFloats()[0]));
            Assert.All(file.Parameters.Where(p => p.Name.EndsWith("lora_A.weight", StringComparison.Ordinal)), p =>
                Assert.All(results[p.Name + "_grad"].ToFloats(), g => Assert.Equal(0, g)));
        }

        static Tensor Ones(Value input) => input.Type == ElementType.Int64
            ? Tensor.Of(Enumerable.Repeat(1L, (int)input.Shape!.Count).ToArray().AsSpan(), input.Shape.Sizes)
            : Tensor.Of(Enumerable.Repeat(1f, (int)input.Shape!.Count).ToArray().AsSpan(), input.Shape.Sizes);
    }

    [Fact]
    public void Metadata_DocumentsEveryInputAndOutput()
    {
        using var folder = new TempFolder();
        var file = TrainingFile.Build(TrainingDenoiser.Open(TinyModel.Write(folder.At("model"))),
            new TrainingFileOptions { Method = TuningMethods.TrainingFile("ddpo"), BatchSize = 3, GuidanceScale = 5 });
        using var options = Ort.Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(file.Graph), options);
        var notes = session.ModelMetadata.CustomMetadataMap;
        Assert.Equal("float32 [3,4,8,8]; noisy latents (or images) x", notes["sample"]);
        Assert.Equal("5", notes["ortrlhf.guidance_scale"]);
        Assert.Equal([3, -1, 16], session.InputMetadata["encoder_hidden_states_uncond"].Dimensions);
        foreach (var name in session.InputMetadata.Keys.Concat(session.OutputMetadata.Keys).Where(n =>
            !n.Contains(".lora_", StringComparison.Ordinal)))
            Assert.True(notes.TryGetValue(name, out var note) && note.Length > 10, $"'{name}' is not documented");
        Assert.Contains("unet.<module path>.lora_A.weight", notes.Keys);
    }

    [Theory]
    [InlineData("dpo", 3, "expected an even number, got 3")]
    [InlineData("ppo", 2, "expected ddpo, reinforce, flow-grpo, nft, d3po, dpo, ipo, kto, mse, got 'ppo'")]
    [InlineData("mse", 0, "batch size: expected 1 to 65536, got 0")]
    public void BadOptions_ThrowAndNameTheFault(string method, int batch, string message) =>
        Assert.Contains(message, Assert.Throws<UserError>(() =>
            new TrainingFileOptions { Method = TuningMethods.TrainingFile(method), BatchSize = batch }.Validate()).Message);

    [Fact]
    public void AllWeights_WithAReference_ThrowsUserError() => Assert.Contains("train adapters",
        Assert.Throws<UserError>(() =>
            new TrainingFileOptions { Method = TuningMethods.TrainingFile("dpo"), BatchSize = 2, AllWeights = true }.Validate()).Message);

    [Fact]
    public void Open_NoDenoiser_ThrowsUserError()
    {
        using var folder = new TempFolder();
        Assert.Contains("no denoiser there", Assert.Throws<UserError>(() => TrainingDenoiser.Open(folder.Path)).Message);
        Directory.CreateDirectory(folder.At("transformer"));
        Assert.Contains("config.json", Assert.Throws<UserError>(() => TrainingDenoiser.Open(folder.Path)).Message);
    }

    // The softmax takes no notice of a bias of the keys: its gradient is rounding noise about zero, measured against the largest of all.
    private static void EveryWeightMatches(SafetensorsFile expected, Dictionary<string, Tensor> results, double tolerance = 1e-4)
    {
        var largest = expected.Tensors.Values.Max(t => t.ToFloats().Max(MathF.Abs));
        foreach (var (name, reference) in expected.Tensors)
        {
            float[] a = results[name + "_grad"].ToFloats(), b = reference.ToFloats();
            var error = a.Zip(b).Max(p => Math.Abs((double)p.First - p.Second)) / Math.Max(b.Max(MathF.Abs), 1e-3 * largest);
            Assert.True(error < tolerance, $"{name}: max error / max value is {error:E2}");
        }
    }

    private static Tensor Two(float value) => Tensor.Of([value, value], 2);

    private static void Matches(string set, string model, string method, Precision dtype = Precision.Fp32, bool fileInHalves = false)
    {
        var halves = fileInHalves || dtype == Precision.Fp16;
        var golden = Golden.Tensors($"{set}/lora_golden.safetensors");
        var lora = Golden.Tensors($"{set}/lora.safetensors");
        using var json = JsonDocument.Parse(Golden.Text($"{set}/golden.json"));
        var values = json.RootElement.GetProperty("lora_golden").GetProperty("values");
        var options = new TrainingFileOptions
        {
            Method = TuningMethods.TrainingFile(method),
            BatchSize = 2,
            Lora = Lora,
            Dtype = dtype,
            Sizes = new(TextTokens: golden["forward.encoder_hidden_states"].Dims[1])
        };
        var (names, tolerance) = (method == "ddpo" ? new[] { "ddpo.clip1e-4", "ddpo.clip0.2" } : [method], halves ? 1e-2 : method == "dpo"
            ? 1e-3 : 1e-4);
        foreach (var name in names)
        {
            var asked = name == "ddpo.clip0.2" ? options with { ClipRange = 0.2 } : options;
            (string Name, Tensor Data)[] fields = [.. Fields(set, method, golden), .. Named(lora)];
            // In halves a log-prob is off by more than a clip range: old ones are taken by the same graph, as runs do, so that ratios are
            // the reference's.
            if (method == "ddpo" && halves)
            {
                var ratios = golden["ddpo.log_prob"].ToFloats().Zip(golden["ddpo.old_log_prob"].ToFloats(), (now, old) => now - old);
                var old = Run(model, asked, fields)["log_prob"].ToFloats().Zip(ratios, (now, log) => now - log).ToArray();
                fields = [.. fields.Select(f => f.Name == "old_log_prob" ? (f.Name, Tensor.Of(old, 2)) : f)];
            }
            var results = Run(model, asked, fields);
            var expected = values.GetProperty(name).GetProperty("loss_fp64").GetDouble();
            Assert.Equal(expected, results["loss"].ToFloats()[0], tolerance * Math.Max(1, Math.Abs(expected)));
            var errors = lora.Tensors.Keys.Select(tensor =>
                (Error: Golden.Error(results[tensor + "_grad"], golden[$"{name}.grad.{tensor}"]), Name: tensor)).Order().ToArray();
            Assert.True(errors[^1].Error < tolerance, $"{name}: median error {errors[errors.Length / 2].Error:E1}, worst "
                + $"{errors[^1].Error:E1} of {errors[^1].Name}");
        }
    }

    internal static (string, Tensor)[] Fields(string set, string method, SafetensorsFile golden)
    {
        if (method == "mse")
            return [("sample", golden["forward.sample"]), ("timestep", golden["forward.timestep"]),
                ("encoder_hidden_states", golden["forward.encoder_hidden_states"]), ("target", golden["mse.target"])];
        if (method == "dpo")
        {
            var (step, text) = (golden["dpo.timestep"].ToInt64s()[0], golden["dpo.encoder_hidden_states"]);
            return [("sample", golden["dpo.x_t"]), ("timestep", Tensor.Vector(step, step)),
                ("encoder_hidden_states", new Tensor(text.Type, [2, .. text.Dims[1..]], [.. text.Bytes(), .. text.Bytes()])),
                    ("target", golden["dpo.target"])];
        }
        var table = DdimTable.Build(SchedulerConfigJson.Read(Golden.At($"{set}/scheduler/scheduler_config.json")), 8, 1);
        var steps = golden["ddpo.timestep"].ToInt64s().Select(t => table.Steps.Single(s => s.Timestep == t)).ToArray();
        return
        [
            ("sample", golden["ddpo.x_t"]), ("timestep", golden["ddpo.timestep"]),
                ("encoder_hidden_states", golden["ddpo.encoder_hidden_states_cond"]),
            ("encoder_hidden_states_uncond", golden["ddpo.encoder_hidden_states_uncond"]), ("next_sample", golden["ddpo.x_prev"]),
            ("c_x", Tensor.Of([.. steps.Select(s => (float)s.CX)], 2)), ("c_m", Tensor.Of([.. steps.Select(s => (float)s.CM)], 2)),
            ("sigma", Tensor.Of([.. steps.Select(s => (float)s.Sigma)], 2)), ("old_log_prob", golden["ddpo.old_log_prob"]),
                ("advantage", golden["ddpo.advantage"]),
        ];
    }

    private static IEnumerable<(string, Tensor)> Named(SafetensorsFile file) => file.Tensors.Select(t => (t.Key, t.Value));

    /// <summary>Writes the file, loads it and runs it once.</summary>
    internal static Dictionary<string, Tensor> Run(string model, TrainingFileOptions options, (string, Tensor)[] inputs)
    {
        using var folder = new TempFolder();
        OnnxFile.Write(TrainingFile.Build(TrainingDenoiser.Open(model), options).Graph, folder.At("training_model.onnx"));
        using var settings = Ort.Options();
        using var session = new InferenceSession(folder.At("training_model.onnx"), settings);
        return Ort.Run(session, inputs);
    }
}
