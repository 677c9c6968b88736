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

/// <summary>Training files of flow transformers, against PyTorch's losses and gradients.</summary>
public class FlowTrainingFileTests
{
    private const string Set = "sd3-tiny";
    private static readonly TrainingFileOptions Options = new()
    {
        Method = TuningMethods.TrainingFile("mse"),
        BatchSize = 2,
        Lora = new LoraOptions { Rank = 4, Alpha = 8 },
        Sizes = new(16, 16, 11)
    };

    [Theory, NeedsGolden(Set)]
    [InlineData(Precision.Fp32)]
    [InlineData(Precision.Fp16)]
    public void StableDiffusion3_Denoising_MatchesReference(Precision dtype)
    {
        var options = Options with { Dtype = dtype };
        var golden = Golden.Tensors($"{Set}/lora_golden.safetensors");
        var target = Tensor.Of([.. golden["flowmatch.noise"].ToFloats().Zip(golden["flowmatch.x0"].ToFloats(), (n, x) => n - x)],
            golden["flowmatch.x0"].Dims);
        Check("mse", options, 1e-4, [("hidden_states", golden["forward.hidden_states"]), ("timestep", golden["forward.timestep"]),
            .. Text("forward", golden), ("target", golden["mse.target"])]);
        Check("flowmatch", options, 1e-4, [("hidden_states", golden["flowmatch.x_t"]), ("timestep", Tensor.Of([.. golden["flowmatch.sigma"]
            .ToFloats().Select(s => 1000 * s)], 2)), .. Text("forward", golden), ("target", target)]);
        var step = golden["dpo.timestep"].ToFloats()[0];
        Check("dpo", options with { Method = TuningMethods.TrainingFile("dpo") }, 1e-3,
        [
            ("hidden_states", golden["dpo.x_t"]), ("timestep", Tensor.Of([step, step], 2)),
                ("encoder_hidden_states", Twice(golden["dpo.encoder_hidden_states"])),
            ("pooled_projections", Twice(golden["dpo.pooled_projections"])), ("target", golden["dpo.target"]),
        ]);
    }

    [Theory, NeedsGolden(Set)]
    [InlineData("nocfg", 1, Precision.Fp32)]
    [InlineData("nocfg", 1, Precision.Fp16)]
    [InlineData("cfg_full", 4.5, Precision.Fp32)]
    [InlineData("cfg_full", 4.5, Precision.Fp16)]
    public void StableDiffusion3_FlowGrpo_MatchesReference(string mode, double guidance, Precision dtype)
    {
        var golden = Golden.Tensors($"{Set}/lora_golden.safetensors");
        var schedule = new FlowSchedule(FlowSchedulerConfigJson.Read(Golden.At($"{Set}/scheduler/scheduler_config.json")));
        var table = FlowTable.Build(schedule, new() { Steps = 10 });
        GaussianStep[] steps = [table.Steps[2], table.Steps[6]];
        (string, Tensor)[] unguided = guidance == 1 ? []
            : [("encoder_hidden_states_uncond", Twice(golden["flow.uncond_encoder_hidden_states"])),
                ("pooled_projections_uncond", Twice(golden["flow.uncond_pooled_projections"]))];
        Check($"flow.{mode}.loss_kl_std", Options with
        {
            Method = TuningMethods.TrainingFile("flow-grpo"),
            Dtype = dtype,
            ClipRange = 0.2,
            KlWeight = 0.04,
            GuidanceScale = guidance
        }, 1e-4,
        [
            ("hidden_states", golden["flow.x_t"]), ("timestep", golden["flow.timestep"]), .. Text("flow", golden), .. unguided,
                ("next_sample", golden[$"flow.{mode}.x_prev"]),
            ("c_x", Numbers(s => s.CX)), ("c_m", Numbers(s => s.CM)), ("sigma", Numbers(s => s.Sigma)),
            ("old_log_prob", golden[$"flow.{mode}.old_log_prob"]), ("advantage", golden["flow.advantage"]),
        ]);

        Tensor Numbers(Func<GaussianStep, double> number) => Tensor.Of([.. steps.Select(s => (float)number(s))], 2);
    }

    [Fact, NeedsGolden("flux-tiny")]
    public void Flux_GradientMatchesFiniteDifference()
    {
        var golden = Golden.Tensors("flux-tiny/golden.safetensors");
        var model = TrainingDenoiser.Open(Golden.At("flux-tiny/transformer"));
        var file = TrainingFile.Build(model,
            Options with { Lora = Options.Lora with { Targets = ["to_q", "proj_mlp"] }, Sizes = new(12, 10, 7) });
        Assert.All(file.Parameters, p => Assert.StartsWith("transformer.", p.Name));
        var values = file.Parameters.ToDictionary(p => p.Name, p => p.Initial.ToFloats());
        foreach (var (name, numbers) in values.Where(v => v.Key.EndsWith("lora_B.weight",
            StringComparison.Ordinal))) new Learning.Philox(1, 0, (uint)name.Length, 0).FillGaussian(numbers);
        (string, Tensor)[] inputs =
        [
            .. ((string[])["hidden_states", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids"]).Select(n =>
                (n, golden["transformer." + n])),
            ("timestep", Tensor.Of([0.9f, 0.2f], 2)), ("target", golden["transformer.output.0"]),
        ];
        using var settings = Ort.Options();
        using var session = new InferenceSession(OnnxFile.ToBytes(file.Graph), settings);
        var gradients = Run().Where(r => r.Key.EndsWith("_grad", StringComparison.Ordinal)).ToDictionary(r => r.Key[..^5], r =>
            r.Value.ToFloats());
        var norm = Math.Sqrt(gradients.Values.Sum(g => g.Sum(v => (double)v * v)));
        var rise = (Loss(0.01) - Loss(-0.01)) / 0.02;
        Assert.Equal(1, rise / norm, 0.01);

        Dictionary<string, Tensor> Run() =>
            Ort.Run(session, [.. inputs, .. file.Parameters.Select(p => (p.Name, Tensor.Of(values[p.Name], p.Initial.Dims)))]);

        double Loss(double step)
        {
            foreach (var (name, g) in gradients) for (var i = 0; i < g.Length; i++) values[name][i] += (float)(step * g[i] / norm);
            var loss = Run()["loss"].ToFloats()[0];
            foreach (var (name, g) in gradients) for (var i = 0; i < g.Length; i++) values[name][i] -= (float)(step * g[i] / norm);
            return loss;
        }
    }

    private static (string, Tensor)[] Text(string part, SafetensorsFile golden) =>
        [("encoder_hidden_states", golden[part + ".encoder_hidden_states"]), ("pooled_projections", golden[part + ".pooled_projections"])];

    private static Tensor Twice(Tensor row) => new(row.Type, [2, .. row.Dims[1..]], [.. row.Bytes(), .. row.Bytes()]);

    private static void Check(string loss, TrainingFileOptions options, double tolerance, (string, Tensor)[] inputs)
    {
        if (options.Dtype == Precision.Fp16) tolerance = 1e-2;
        var golden = Golden.Tensors($"{Set}/lora_golden.safetensors");
        var lora = Golden.Tensors($"{Set}/lora.safetensors");
        using var json = JsonDocument.Parse(Golden.Text($"{Set}/golden.json"));
        var expected = json.RootElement.GetProperty("lora_golden").GetProperty("values").GetProperty(loss).GetProperty("loss_fp64")
            .GetDouble();
        using var folder = new TempFolder();
        Matches(Golden.At($"{Set}/transformer"));
        if (options.Dtype != Precision.Fp16) return;
        CheckpointImport.Write(ImportPlan.Make(Golden.At($"{Set}/transformer"), new ImportOptions { Type = ElementType.Float16 }),
            folder.At("onnx"));
        Matches(folder.At("onnx"));

        void Matches(string model)
        {
            OnnxFile.Write(TrainingFile.Build(TrainingDenoiser.Open(model), options).Graph, folder.At("training_model.onnx"));
            using var settings = Ort.Options();
            using var session = new InferenceSession(folder.At("training_model.onnx"), settings);
            var results = Ort.Run(session, [.. inputs, .. lora.Tensors.Select(t => (t.Key, t.Value))]);
            Assert.Equal(expected, results["loss"].ToFloats()[0], tolerance);
            foreach (var tensor in lora.Tensors.Keys) Golden.Close(results[tensor + "_grad"], golden[$"{loss}.grad.{tensor}"], tolerance);
        }
    }
}
