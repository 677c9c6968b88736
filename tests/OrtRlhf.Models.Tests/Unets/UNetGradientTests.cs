using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models.Tests.Unets;

/// <summary>Gradients through whole networks that we build, against those of PyTorch's autograd.</summary>
public class UNetGradientTests
{
    [Fact]
    public void StableDiffusion1_LoraGradients_MatchReference() => AllLosses("sd1-tiny");

    [Fact, NeedsGolden("sd2-tiny/unet/diffusion_pytorch_model.safetensors")]
    public void StableDiffusion2_LoraGradients_MatchReference() => AllLosses("sd2-tiny");

    [Fact]
    public void SmallNetwork_LoraGradients_MatchReference()
    {
        var golden = Golden.Tensors("torch/unet-opset17/golden.safetensors");
        var lora = Golden.Tensors("torch/unet-opset17/lora.safetensors");
        var (graph, sample) = Small(trainable: false);
        var layers = InjectLora.Apply(graph,
            new LoraOptions { Rank = 4, Alpha = 8, Targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"] });
        var parameters = layers.SelectMany(l => new[] { l.A, l.B }).ToList();
        Assert.Equal(lora.Tensors.Keys.Order(StringComparer.Ordinal), parameters.Select(p => p.Name).Order(StringComparer.Ordinal));
        var results = Differentiate(MeanSquaredError(graph), parameters,
            [.. Inputs(golden, sample), .. lora.Tensors.Select(t => (t.Key, t.Value))]);
        Golden.Close(results["out_sample"], golden["lora.out_sample"], 1e-5);
        foreach (var parameter in parameters) Golden.Close(results[parameter.Name + "_grad"], golden["lora.grad." + parameter.Name]);
    }

    [Fact]
    public void SmallNetwork_GradientsOfAllWeights_MatchReference()
    {
        var golden = Golden.Tensors("torch/unet-opset17/golden.safetensors");
        var (graph, sample) = Small(trainable: true);
        var parameters = graph.Inputs.Where(i => i.Data is not null).ToList();
        Assert.Equal(golden.Tensors.Keys.Count(k => k.StartsWith("grad.", StringComparison.Ordinal)), parameters.Count);
        var results = Differentiate(MeanSquaredError(graph), parameters, Inputs(golden, sample));
        Golden.Close(results["out_sample"], golden["out_sample"], 1e-5);
        foreach (var parameter in parameters) Golden.Close(results[parameter.Name + "_grad"], golden["grad." + parameter.Name]);
    }

    /// <summary>mse, ddpo with both clip ranges, dpo: formulas as in the golden set's README.</summary>
    private static void AllLosses(string set)
    {
        var golden = Golden.Tensors($"{set}/lora_golden.safetensors");
        using var json = JsonDocument.Parse(Golden.Text($"{set}/golden.json"));
        var values = json.RootElement.GetProperty("lora_golden").GetProperty("values");

        Check(set, "mse", 1e-4, golden, values, golden["forward.sample"], golden["forward.timestep"].ToInt64s(),
            golden["forward.encoder_hidden_states"], m =>
            Mean(Square(m - m.Graph.Constant(golden["mse.target"]))));

        var noisy = Two(golden["ddpo.x_t"], golden["ddpo.x_t"]);
        long[] steps = [.. golden["ddpo.timestep"].ToInt64s(), .. golden["ddpo.timestep"].ToInt64s()];
        var texts = Two(golden["ddpo.encoder_hidden_states_uncond"], golden["ddpo.encoder_hidden_states_cond"]);
        foreach (var clip in (double[])[1e-4, 0.2])
        {
            // Guided: as it is, and as it is trained on a CPU, with what both halves share taken once and layers in parts.
            foreach (var guided in (bool[])[false, true]) Check(set, clip < 1e-3 ? "ddpo.clip1e-4" : "ddpo.clip0.2", 1e-4, golden, values,
                noisy, steps, texts, m =>
            {
                var (u, c) = (m.Slice(0, 0, 2), m.Slice(0, 2, 4));
                var (logp, a) = (LogProb(golden, u + ((c - u) * 5.0), values.GetProperty("ddpo_common").GetProperty("prediction_type")
                    .GetString()!), m.Graph.Constant(golden["ddpo.advantage"]));
                var r = Exp(logp - m.Graph.Constant(golden["ddpo.old_log_prob"]));
                return Mean(Max(-a * r, -a * Functions.Clip(r, 1 - clip, 1 + clip)));
            }, guided);
        }

        var dpoSteps = golden["dpo.timestep"].ToInt64s();
        var text = golden["dpo.encoder_hidden_states"];
        Check(set, "dpo", 1e-3, golden, values, golden["dpo.x_t"], [dpoSteps[0], dpoSteps[0]], Two(text, text), m =>
        {
            var reference = golden["dpo.ref_losses"].ToFloats();
            var losses = MeanPerSample(Square(m - m.Graph.Constant(golden["dpo.target"])));
            var inside = losses.Slice(0, 0, 1) - losses.Slice(0, 1, 2) - ((double)reference[0] - reference[1]);
            return -Mean(LogSigmoid(inside * (-0.5 * values.GetProperty("dpo").GetProperty("beta").GetDouble())));
        });
    }

    private static void Check(string set, string loss, double tolerance, SafetensorsFile golden, JsonElement values, Tensor sample,
        long[] steps, Tensor texts, Func<Value, Value> write, bool guided = false)
    {
        var config = UNet2DConditionConfig.Parse(Golden.Text($"{set}/unet/config.json"));
        var graph = UNet2DConditionModel.Build(config, Golden.WeightsOf($"{set}/unet/diffusion_pytorch_model.safetensors"), sample.Dims[0],
            sample.Dims[2], sample.Dims[3], texts.Dims[1]);
        var lora = Golden.Tensors($"{set}/lora.safetensors");
        if (guided) Assert.InRange(ShareGuided.Apply(graph, "sample", "timestep"), 40, graph.Nodes.Count / 2);
        var parameters = InjectLora.Apply(graph, new LoraOptions { Rank = 4, Alpha = 8 }).SelectMany(l => new[] { l.A, l.B }).ToList();
        if (guided) Assert.True(SplitUpsampling.Apply(graph) > 0 && SplitGates.Apply(graph) > 0);
        Assert.Equal(lora.Tensors.Count, parameters.Count);
        var results = Differentiate(write(graph.Outputs[0]), parameters,
            [("sample", sample), ("timestep", Tensor.Vector(steps)), ("encoder_hidden_states", texts),
                .. lora.Tensors.Select(t => (t.Key, t.Value))]);
        Assert.Equal(values.GetProperty(loss).GetProperty("loss_fp64").GetDouble(), results["loss"].ToFloats()[0], tolerance);
        foreach (var parameter in parameters) Golden.Close(results[parameter.Name + "_grad"], golden[$"{loss}.grad.{parameter.Name}"],
            tolerance);
    }

    /// <summary>log N(x'; mu, sigma^2), a mean over elements, of a DDIM step from the guided output m.</summary>
    private static Value LogProb(SafetensorsFile golden, Value m, string prediction)
    {
        double[] t = Doubles("ddpo.alpha_bar_t"), p = Doubles("ddpo.alpha_bar_prev"), sigma = Doubles("ddpo.sigma");
        Value Each(Func<int, double> f) => m.Graph.Constant(Tensor.Of([(float)f(0), (float)f(1)], 2, 1, 1, 1));
        var x = m.Graph.Constant(golden["ddpo.x_t"]);
        var velocity = prediction == "v_prediction";
        var x0 = velocity
            ? (x * Each(i => Math.Sqrt(t[i]))) - (m * Each(i => Math.Sqrt(1 - t[i])))
            : (x * Each(i => 1 / Math.Sqrt(t[i]))) - (m * Each(i => Math.Sqrt((1 - t[i]) / t[i])));
        var epsilon = velocity ? (m * Each(i => Math.Sqrt(t[i]))) + (x * Each(i => Math.Sqrt(1 - t[i]))) : m;
        var mu = (x0 * Each(i => Math.Sqrt(p[i]))) + (epsilon * Each(i => Math.Sqrt(1 - p[i] - (sigma[i] * sigma[i]))));
        var squares = Square(m.Graph.Constant(golden["ddpo.x_prev"]) - mu) * Each(i => -1 / (2 * sigma[i] * sigma[i]));
        return MeanPerSample(squares)
            - m.Graph.Constant(Tensor.Of([.. sigma.Select(s => (float)(Math.Log(s) + (0.5 * Math.Log(2 * Math.PI))))], 2));

        double[] Doubles(string name) => [.. golden[name].ToFloats().Select(f => (double)f)];
    }

    private static Dictionary<string, Tensor> Differentiate(Value loss, List<Value> parameters, (string, Tensor)[] inputs)
    {
        var graph = loss.Graph;
        var gradients = GradientBuilder.Add(loss, parameters);
        graph.Output(loss, "loss");
        foreach (var parameter in parameters) graph.Output(gradients[parameter], parameter.Name + "_grad");
        return Ort.Run(graph, inputs);
    }

    private static Value MeanSquaredError(OnnxGraph graph) =>
        Mean(Square(graph.Outputs[0] - graph.Input("target", ElementType.Float, [.. graph.Outputs[0].Shape!.Dims])));

    private static (string, Tensor)[] Inputs(SafetensorsFile golden, Tensor sample) =>
    [
        ("sample", sample), ("encoder_hidden_states", golden["encoder_hidden_states"]), ("target", golden["target"]),
        ("timestep", Tensor.Vector([.. Enumerable.Repeat(golden["timestep"].ToInt64s()[0], (int)sample.Dims[0])])),
    ];

    /// <summary>Our build of a network that PyTorch exported, with the weights of the export under the names they had before.</summary>
    private static (OnnxGraph Graph, Tensor Sample) Small(bool trainable)
    {
        const string Folder = "torch/unet-opset17";
        var weights = OnnxFile.Read(Golden.At($"{Folder}/model.onnx")).Constants.ToDictionary(c => c.Name, c => c.Data!);
        using var renamed = JsonDocument.Parse(Golden.Text($"{Folder}/parameters.json"));
        foreach (var entry in renamed.RootElement.EnumerateObject())
        {
            var (name, data) = (entry.Value.GetProperty("parameter").GetString()!, weights[entry.Name]);
            weights[name] = entry.Value.GetProperty("transposed").GetBoolean() ? data.Transposed() : data;
        }
        var golden = Golden.Tensors($"{Folder}/golden.safetensors");
        var (sample, text) = (golden["sample"], golden["encoder_hidden_states"]);
        var config = UNet2DConditionConfig.Parse(Golden.Text($"{Folder}/config.json"));
        return (UNet2DConditionModel.Build(config, new Weights(weights, trainable), sample.Dims[0], sample.Dims[2], sample.Dims[3],
            text.Dims[1]), sample);
    }

    private static Tensor Two(Tensor a, Tensor b) => new(a.Type, [a.Dims[0] + b.Dims[0], .. a.Dims[1..]], [.. a.Bytes(), .. b.Bytes()]);
}
