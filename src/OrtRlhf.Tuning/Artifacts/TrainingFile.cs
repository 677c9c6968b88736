using System.Text.Json;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Gradients;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>
/// A training graph that documents itself: any ONNX Runtime computes with it the loss of one micro-batch and the gradient of every trained
/// tensor.
/// Inputs: the model's own (<c>sample</c>, <c>timestep</c>, <c>encoder_hidden_states</c>, ...), the method's fields, the trained tensors.
/// Outputs: <c>loss</c>,
/// metrics, <c>NAME_grad</c> for each trained tensor. The metadata says of each its type, shape and meaning.
/// </summary>
/// <param name="Graph">The graph.</param>
/// <param name="Parameters">The trained tensors in the order of the graph's inputs, with initial values: A drawn, B zero, or the model's
/// weights.</param>
/// <param name="Metrics">Names of the outputs between the loss and the gradients.</param>
public sealed record TrainingFile(OnnxGraph Graph, IReadOnlyList<(string Name, Tensor Initial)> Parameters, IReadOnlyList<string> Metrics)
{
    /// <summary>Suffix of the inputs that hold the text states without a prompt, where guidance needs both.</summary>
    public const string UncondSuffix = "_uncond";

    private const double DefaultGuidance = 5;
    // Places are the same for all rows.
    private static readonly string[] PlaceInputs = ["img_ids", "txt_ids"];
    private static readonly string[] TextInputs = ["encoder_hidden_states", "text_embeds", "pooled_projections"];

    /// <summary>Builds the graph.</summary>
    /// <param name="model">The denoiser.</param>
    /// <param name="options">What it computes.</param>
    /// <param name="withGradients">Whether it gives gradients; false for a graph that evaluates.</param>
    /// <exception cref="UserError">Options are out of range, a target matches no layer, or an operator on the way has no
    /// gradient.</exception>
    public static TrainingFile Build(TrainingDenoiser model, TrainingFileOptions options, bool withGradients = true)
    {
        options = options with { Lora = options.Lora with { Prefix = model.Name + "." } };
        options.Validate();
        options.Lora.Validate();
        var method = options.Method;
        var batch = options.BatchSize;
        var graph = Denoiser(batch);
        var takesText = graph.Inputs.Any(i => i.Data is null && TextInputs.Contains(i.Name));
        var guidance = options.GuidanceScale ?? (method.IsPolicyGradient && takesText && !model.IsDistilled ? DefaultGuidance : 1);
        if (guidance > 1 && !takesText) throw new UserError(
            "guidance scale: the model takes no text, so there is nothing to guide it by; leave it out");
        if (guidance > 1) graph = Denoiser(2 * batch);

        var reference = method.NeedsReference || options.ResolvedKlWeight > 0 ? new ForwardCopy(graph, graph.Outputs[0]) : null;
        Value[] parameters = options.AllWeights
            ? [.. graph.Inputs.Where(i => i.Data is not null)]
            : [.. InjectLora.Apply(graph, options.Lora with { Type = ElementType.Float }).SelectMany(l => new[] { l.A, l.B })];
        var (m, mRef) = (graph.Outputs[0], reference?.Add("reference"));
        if (guidance > 1) TakeBoth(graph, batch);
        (string, Tensor)[] initial = [.. parameters.Select((p, i) => (p.Name, options.AllWeights ? p.Data! : Initial(p, i, options)))];
        var own = graph.Inputs.Except(parameters).ToList();
        Value[] trained = withGradients ? parameters : [];
        // Weights of convolutions as they lie: a file with a second, turned copy of each would be half as large again.
        TrainingGraph.Build(new(m, graph[model.SampleName], mRef), guidance, f =>
            method.Write(f, options), trained, new GradientOptions { SharedWeights = true });
        var fields = graph.Inputs.Except(parameters).Except(own).ToList();
        string[] metrics = [.. graph.Outputs.Skip(1).SkipLast(trained.Length).Select(o => o.Name)];
        // A checkpoint's own weights are good values to go on with; adapters must be given.
        for (var i = 0; i < parameters.Length; i++) parameters[i].Data = options.AllWeights ? initial[i].Item2 : null;
        graph.Inputs.Clear();
        graph.Inputs.AddRange([.. own, .. fields, .. parameters]);
        graph.Name = $"{method.Name} of {graph.Name}";
        TrainingFileNotes.Write(graph, method, options, guidance, [.. own.Concat(fields)], metrics);
        return new TrainingFile(graph, initial, metrics);

        OnnxGraph Denoiser(long rows)
        {
            var built = model.Build(rows, options.Sizes, options.AllWeights);
            if (options.Dtype == Precision.Fp16) WeightsInHalves.Apply(built);
            return built;
        }
    }

    /// <summary>
    /// Writes <c>training_model.onnx</c>, and for adapters <c>adapter.safetensors</c> with their initial values, alpha in its header as
    /// PEFT writes it.
    /// </summary>
    /// <param name="folder">Where to; made if need be.</param>
    /// <param name="options">What the graph was built with.</param>
    /// <exception cref="UserError">The place cannot be written.</exception>
    public void Write(string folder, TrainingFileOptions options)
    {
        OnnxFile.Write(Graph, Path.Combine(folder, "training_model.onnx"));
        if (options.AllWeights) return;
        var prefix = Parameters[0].Name.StartsWith(AdapterFile.TransformerPrefix, StringComparison.Ordinal) ? AdapterFile.TransformerPrefix
            : AdapterFile.UNetPrefix;
        var config = JsonSerializer.Serialize(new Dictionary<string, object>
        {
            [prefix + "r"] = options.Lora.Rank,
            [prefix + "lora_alpha"] = options.Lora.Alpha ?? options.Lora.Rank
        });
        SafetensorsFile.Write(Path.Combine(folder, "adapter.safetensors"), Parameters.Select(p => KeyValuePair.Create(p.Name, p.Initial)),
            new Dictionary<string, string> { ["format"] = "pt", ["lora_adapter_metadata"] = config });
    }

    /// <summary>Inputs of 2B rows become inputs of B rows; text states come twice, without the prompt and with it.</summary>
    private static void TakeBoth(OnnxGraph graph, long batch)
    {
        foreach (var input in graph.Inputs.Where(i => i.Data is null && !PlaceInputs.Contains(i.Name)).ToList())
        {
            var (name, place) = (input.Name, graph.Inputs.IndexOf(input));
            graph.Rename(input, name + " of both");
            graph.Inputs.RemoveAt(place);
            Dim[] dims = [batch, .. input.Shape!.Dims[1..]];
            var with = Declare(name);
            var without = TextInputs.Contains(name) ? Declare(name + UncondSuffix) : with;
            graph.Redirect(input, Layout.Concat(0, without, with));

            Value Declare(string named)
            {
                var value = graph.Input(named, input.Type, dims);
                graph.Inputs.Remove(value);
                graph.Inputs.Insert(place++, value);
                return value;
            }
        }
        graph.Sort();
    }

    // As diffusers begins: A from N(0, 1/r^2), B zero, so that the first step is the base model's.
    private static Tensor Initial(Value parameter, int index, TrainingFileOptions options)
    {
        var values = new float[parameter.Shape!.Count];
        if (index % 2 == 0)
        {
            new Philox(options.Seed, 0, (uint)(index / 2), RandomStep.Initialization).FillGaussian(values);
            foreach (ref var value in values.AsSpan()) value /= options.Lora.Rank;
        }
        return Tensor.Of(values, parameter.Shape.Sizes);
    }
}
