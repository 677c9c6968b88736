using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tests;
using static OrtRlhf.Graph.Expressions.Functions;

namespace OrtRlhf.Graph.Tests.Exported;

/// <summary>Networks that PyTorch exported (tests/Golden/torch), made ready to be differentiated as a training graph is.</summary>
internal static class ExportedModel
{
    private static readonly Dictionary<string, long[]> Frozen = new()
    {
        ["sample"] = [2, 4, 8, 8],
        ["timestep"] = [1],
        ["encoder_hidden_states"] = [2, 5, 12]
    };

    /// <summary>The folder with a network's reference data.</summary>
    public static string GoldenOf(string name) => name == "unet-small-opset20" ? "unet-small-opset14" : name;

    public static OnnxGraph Read(string name) => OnnxFile.Read(Golden.At("torch", name, "model.onnx"));

    /// <summary>A network with static shapes, and the given passes before.</summary>
    public static OnnxGraph Prepared(string name, bool recognize, Action<OnnxGraph>? before = null)
    {
        var graph = Read(name);
        RaiseOpset.Apply(graph);
        before?.Invoke(graph);
        FreezeShapes.Apply(graph, Frozen.Where(f => graph.Inputs.Any(i => i.Name == f.Key)).ToDictionary());
        FoldConstants.Apply(graph);
        if (recognize) RecognizeComposites.Apply(graph);
        return graph;
    }

    /// <summary>
    /// Adds mean (out_sample - target)^2 in float and its gradients; the loss is scaled where halves flow back, the gradients are not.
    /// </summary>
    public static void Differentiate(OnnxGraph graph, IReadOnlyCollection<Value> parameters, double lossScale = 1)
    {
        var target = graph.Input("target", ElementType.Float, 2, 4, 8, 8);
        var loss = Mean(Square(Cast(graph.Outputs[0], ElementType.Float) - target));
        var gradients = GradientBuilder.Add(loss * lossScale, parameters);
        graph.Output(loss, "loss");
        foreach (var parameter in parameters) graph.Output(gradients[parameter] * (1 / lossScale), parameter.Name + "_grad");
    }

    /// <summary>Runs a network on the reference inputs, in its own types.</summary>
    public static Dictionary<string, Tensor> Run(OnnxGraph graph, string name, params IEnumerable<(string, Tensor)> more)
    {
        var golden = Golden.Tensors("torch", GoldenOf(name), "golden.safetensors");
        return Ort.Run(graph, [.. graph.Inputs.Where(i => golden.ContainsKey(i.Name)).Select(i =>
            (i.Name, i.Type == ElementType.Float16 ? golden[i.Name].As(i.Type) : golden[i.Name])), .. more]);
    }
}
