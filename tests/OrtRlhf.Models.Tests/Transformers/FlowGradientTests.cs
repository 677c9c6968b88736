using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Models.Tests.Transformers;

/// <summary>Gradients of losses through flow transformers, against those of PyTorch's autograd.</summary>
public class FlowGradientTests
{
    private const string Set = "sd3-tiny";

    [Fact, NeedsGolden($"{Set}/lora_golden.safetensors")]
    public void StableDiffusion3_LoraGradients_MatchReference()
    {
        var golden = Golden.Tensors($"{Set}/lora_golden.safetensors");
        using var json = JsonDocument.Parse(Golden.Text($"{Set}/golden.json"));
        var values = json.RootElement.GetProperty("lora_golden").GetProperty("values");
        var (text, pooled) = (golden["forward.encoder_hidden_states"], golden["forward.pooled_projections"]);
        Check("mse", 1e-4, golden["forward.hidden_states"], golden["forward.timestep"], text, pooled, m =>
            Mean(Square(m - m.Graph.Constant(golden["mse.target"]))));

        var target = Tensor.Of([.. golden["flowmatch.noise"].ToFloats().Zip(golden["flowmatch.x0"].ToFloats(), (n, x) => n - x)],
            golden["flowmatch.x0"].Dims);
        var steps = Tensor.Of([.. golden["flowmatch.sigma"].ToFloats().Select(s => 1000 * s)], 2);
        Check("flowmatch", 1e-4, golden["flowmatch.x_t"], steps, text, pooled, m => Mean(Square(m - m.Graph.Constant(target))));

        var step = golden["dpo.timestep"].ToFloats()[0];
        Check("dpo", 1e-3, golden["dpo.x_t"], Tensor.Of([step, step], 2), Two(golden["dpo.encoder_hidden_states"]),
            Two(golden["dpo.pooled_projections"]), m =>
        {
            var reference = golden["dpo.ref_losses"].ToFloats();
            var losses = MeanPerSample(Square(m - m.Graph.Constant(golden["dpo.target"])));
            var inside = losses.Slice(0, 0, 1) - losses.Slice(0, 1, 2) - ((double)reference[0] - reference[1]);
            return -Mean(LogSigmoid(inside * (-0.5 * values.GetProperty("dpo").GetProperty("beta").GetDouble())));
        });

        void Check(string loss, double tolerance, Tensor sample, Tensor timestep, Tensor texts, Tensor pooledTexts,
            Func<Value, Value> write)
        {
            var config = FlowTransformerTests.Config(Set);
            var graph = SD3Transformer2DModel.Build(config, Golden.WeightsOf($"{Set}/transformer/diffusion_pytorch_model.safetensors"), 2,
                16, 16, texts.Dims[1]);
            var lora = Golden.Tensors($"{Set}/lora.safetensors");
            var parameters = InjectLora.Apply(graph, new LoraOptions { Rank = 4, Alpha = 8, Prefix = "transformer." }).SelectMany(l =>
                new[] { l.A, l.B }).ToList();
            Assert.Equal(lora.Tensors.Keys.Order(StringComparer.Ordinal), parameters.Select(p => p.Name).Order(StringComparer.Ordinal));
            var results = Differentiate(write(graph.Outputs[0]), parameters,
                [("hidden_states", sample), ("timestep", timestep), ("encoder_hidden_states", texts), ("pooled_projections", pooledTexts),
                    .. lora.Tensors.Select(t => (t.Key, t.Value))]);
            Assert.Equal(values.GetProperty(loss).GetProperty("loss_fp64").GetDouble(), results["loss"].ToFloats()[0], tolerance * 10);
            foreach (var parameter in parameters) Golden.Close(results[parameter.Name + "_grad"], golden[$"{loss}.grad.{parameter.Name}"],
                tolerance);
        }
    }

    [Theory, NeedsGolden("sd35-tiny/transformer")]
    [InlineData("sd35-tiny")]
    [InlineData("flux-tiny")]
    public void AllWeights_GradientMatchesFiniteDifference(string set)
    {
        var golden = Golden.Tensors($"{set}/golden.safetensors");
        var weights = Golden.WeightsOf($"{set}/transformer/diffusion_pytorch_model.safetensors", trainable: true);
        var flux = set == "flux-tiny";
        var graph = flux
            ? FluxTransformer2DModel.Build(FluxTransformer2DConfig.Parse(Golden.Text($"{set}/transformer/config.json")), weights, 2, 30, 7)
            : SD3Transformer2DModel.Build(FlowTransformerTests.Config(set), weights, 2, 16, 16, 11);
        var parameters = graph.Inputs.Where(i => i.Data is not null).ToList();
        string[] names = ["hidden_states", "encoder_hidden_states", "pooled_projections", .. flux ? (string[])["img_ids", "txt_ids"] : []];
        var t = golden["transformer.timesteps"].ToFloats()[1];
        (string, Tensor)[] inputs = [.. names.Select(n => (n, golden["transformer." + n])), ("timestep", Tensor.Of([t, t], 2))];
        var loss = Mean(graph.Outputs[0] * graph.Constant(golden["transformer.output.0"]));
        var results = Differentiate(loss, parameters, inputs);
        using var options = Ort.Options();
        using var session = new Microsoft.ML.OnnxRuntime.InferenceSession(OnnxFile.ToBytes(graph), options);
        // Along the sign of a weight's gradient the loss rises by step * |gradient|_1, for each weight of the second blocks.
        foreach (var parameter in parameters.Where(p =>
            p.Name.Contains("blocks.1.", StringComparison.Ordinal) && p.Name.EndsWith("weight", StringComparison.Ordinal)))
        {
            var gradient = results[parameter.Name + "_grad"].ToFloats();
            const float Step = 1e-3f;
            double Loss(float step) => Ort.Run(session, [.. inputs, (parameter.Name, Tensor.Of([.. parameter.Data!.ToFloats()
                .Zip(gradient, (w, g) => w + (step * MathF.Sign(g)))], parameter.Data.Dims))])["loss"].ToFloats()[0];
            var (measured, expected) = ((Loss(Step) - Loss(-Step)) / (2 * Step), gradient.Sum(g => Math.Abs((double)g)));
            Assert.True(Math.Abs(measured - expected) < (0.02 * expected) + 2e-3,
                $"{parameter.Name}: measured {measured}, gradient {expected}");
        }
    }

    private static Dictionary<string, Tensor> Differentiate(Value loss, List<Value> parameters, (string, Tensor)[] inputs)
    {
        var graph = loss.Graph;
        var gradients = GradientBuilder.Add(loss, parameters);
        graph.Output(loss, "loss");
        foreach (var parameter in parameters) graph.Output(gradients[parameter], parameter.Name + "_grad");
        return Ort.Run(graph, inputs);
    }

    private static Tensor Two(Tensor a) => new(a.Type, [2, .. a.Dims[1..]], [.. a.Bytes(), .. a.Bytes()]);
}
