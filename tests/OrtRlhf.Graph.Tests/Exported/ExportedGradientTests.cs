using System.Text.Json;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Graph.Tests.Exported;

/// <summary>Gradients through whole networks that PyTorch exported, against those of its autograd.</summary>
public class ExportedGradientTests
{
    private static readonly LoraOptions Options = new()
    {
        Rank = 4,
        Alpha = 8,
        Type = ElementType.Float,
        Targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1"]
    };

    public static TheoryData<string, bool, double, double> Networks => new()
    {
        { "unet-opset17", false, 1e-5, 1e-4 }, { "unet-opset17", true, 1e-5, 1e-4 },
        { "unet-small-opset14", false, 1e-5, 1e-4 }, { "unet-small-opset14", true, 1e-5, 1e-4 },
        { "unet-small-opset20", false, 1e-5, 1e-4 }, { "unet-small-opset20", true, 1e-5, 1e-4 },
        { "unet-linear-opset17", false, 1e-5, 1e-4 }, { "unet-linear-opset17", true, 1e-5, 1e-4 },
        { "unet-small-fp16-opset17", false, 1e-5, 1e-4 }, { "unet-small-fp16-opset17", true, 1e-5, 1e-4 },
    };

    /// <summary>In halves all the way: what flows back loses two digits, however the loss is scaled.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void LoraGradients_InHalves_AreNearTheReference(bool recognize) =>
        Check("unet-small-fp16-opset17", recognize, widen: false, 3e-3, 3e-2);

    [Theory]
    [MemberData(nameof(Networks))]
    public void LoraGradients_MatchReference(string name, bool recognize, double output, double gradient) =>
        Check(name, recognize, widen: true, output, gradient);

    private static void Check(string name, bool recognize, bool widen, double output, double gradient)
    {
        var golden = Golden.Tensors("torch", ExportedModel.GoldenOf(name), "golden.safetensors");
        var lora = Golden.Tensors("torch", ExportedModel.GoldenOf(name), "lora.safetensors");
        IReadOnlyList<LoraLayer> layers = [];
        var graph = ExportedModel.Prepared(name, recognize, g =>
        {
            if (widen) WidenHalves.Apply(g);
            layers = InjectLora.Apply(g, Options);
        });
        Assert.Equal(!widen, graph.Values.Values.Any(v => v.Type == ElementType.Float16));
        var parameters = layers.SelectMany(l => new[] { l.A, l.B }).ToList();
        Assert.Equal(lora.Keys.Order(StringComparer.Ordinal), parameters.Select(p => p.Name).Order(StringComparer.Ordinal));
        Assert.All(graph.Nodes, n => Assert.True(GradientRules.Supports(n), n.ToString()));

        ExportedModel.Differentiate(graph, parameters, widen ? 1 : 1024);
        var results = ExportedModel.Run(graph, name, lora.Select(t => (t.Key, t.Value.As(ElementType.Float))));
        Numbers.AssertClose(golden["lora.out_sample"], results["out_sample"], output);
        var worst = parameters.Max(p => Numbers.Error(results[p.Name + "_grad"], golden["lora.grad." + p.Name]));
        Assert.True(worst < gradient, $"the worst of {parameters.Count} gradients is off by {worst:g3}, expected below {gradient:g3}");
    }

    /// <summary>
    /// A sampler's graph keeps its open shapes, a trainer's is frozen and folded first: both name the same adapters in the same order.
    /// </summary>
    [Theory]
    [InlineData("unet-opset17")]
    [InlineData("unet-small-opset14")]
    [InlineData("unet-small-opset20")]
    [InlineData("unet-linear-opset17")]
    [InlineData("unet-small-fp16-opset17")]
    public void AdaptersOfAFoldedModel_AreThoseOfTheFile(string name)
    {
        var expected = InjectLora.Apply(ExportedModel.Read(name), Options).Select(l => l.Path).ToList();
        Assert.Equal(expected.Count, expected.Distinct().Count());
        foreach (var recognize in new[] { false, true })
            Assert.Equal(expected, InjectLora.Apply(ExportedModel.Prepared(name, recognize), Options).Select(l => l.Path));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void GradientsOfAllWeights_MatchReference(bool recognize)
    {
        const string Name = "unet-opset17";
        var golden = Golden.Tensors("torch", Name, "golden.safetensors");
        var names = golden.Keys.Where(k => k.StartsWith("grad.", StringComparison.Ordinal)).ToDictionary(k => k["grad.".Length..], k =>
            (Parameter: k["grad.".Length..], Transposed: false));
        using var renamed = JsonDocument.Parse(File.ReadAllText(Golden.At("torch", Name, "parameters.json")));
        foreach (var entry in renamed.RootElement.EnumerateObject())
        {
            var parameter = entry.Value.GetProperty("parameter").GetString()!;
            Assert.True(names.Remove(parameter));
            names[entry.Name] = (parameter, entry.Value.GetProperty("transposed").GetBoolean());
        }
        var graph = ExportedModel.Prepared(Name, recognize, g =>
        {
            foreach (var name in names.Keys) g.MakeParameter(g[name]);
        });
        ExportedModel.Differentiate(graph, [.. names.Keys.Select(n => graph[n])]);
        var results = ExportedModel.Run(graph, Name);
        foreach (var (name, (parameter, transposed)) in names)
        {
            var (gradient, expected) = (results[name + "_grad"], golden["grad." + parameter]);
            Numbers.AssertClose(expected, transposed ? gradient.Transposed() : gradient.Reshaped(expected.Dims), 1e-4);
        }
    }
}
