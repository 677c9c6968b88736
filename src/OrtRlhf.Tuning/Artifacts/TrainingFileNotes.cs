using System.Globalization;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Tuning.Artifacts;

/// <summary>
/// What a training file says of itself in its metadata: under the name of each input and output <c>TYPE [SHAPE]; meaning</c>, and under
/// <c>ortrlhf.*</c> the method, its loss and the numbers that are constants of the graph.
/// </summary>
internal static class TrainingFileNotes
{
    private static readonly Dictionary<string, string> ModelInputs = new(StringComparer.Ordinal)
    {
        ["sample"] = "noisy latents (or images) x",
        ["hidden_states"] = "noisy latents x; FLUX: packed, 2x2 cells to a token",
        ["pooled_projections"] = "pooled text of each row's prompt",
        ["pooled_projections_uncond"] = "pooled text of the empty (or negative) prompt, for guidance",
        ["img_ids"] = "places of the cells: 0, row, column",
        ["txt_ids"] = "places of the tokens: zeros",
        ["guidance"] = "guidance scale that the model was distilled with",
        ["timestep"] = "timestep index of each row; of a flow 1000 t, of FLUX t",
        ["encoder_hidden_states"] = "text states of each row's prompt (last_hidden_state of the text encoder)",
        ["encoder_hidden_states_uncond"] = "text states of the empty (or negative) prompt, for guidance",
        ["text_embeds"] = "pooled text of each row's prompt",
        ["text_embeds_uncond"] = "pooled text of the empty (or negative) prompt, for guidance",
        ["time_ids"] = "original size, crop and target size, as SDXL takes them",
        ["timestep_cond"] = "further condition of the timestep",
        ["class_labels"] = "class of each row",
    };

    /// <summary>Writes the notes.</summary>
    public static void Write(OnnxGraph graph, TrainingFileMethod method, TrainingFileOptions options, double guidance,
        IReadOnlyList<Value> inputs, IReadOnlyList<string> metrics)
    {
        var notes = graph.Metadata;
        foreach (var input in inputs)
            notes[input.Name] = Note(input, ModelInputs.GetValueOrDefault(input.Name) ?? method.Fields.GetValueOrDefault(input.Name)
                ?? "an input of the model");
        foreach (var output in graph.Outputs)
        {
            if (output.Name == "loss") notes["loss"] = Note(output, method.Formula);
            else if (metrics.Contains(output.Name)) notes[output.Name] = Note(output, TrainingFileMethod.Metrics[output.Name]);
        }
        if (options.AllWeights)
        {
            notes["<weight>"] =
                "the model's weights by their names in the checkpoint; they have defaults, so that only changed ones need be given";
            notes["<weight>" + TrainingGraph.GradientSuffix] = "d loss / d weight, of the weight's shape";
        }
        else
        {
            notes[options.Lora.Prefix + "<module path>.lora_A.weight"] =
                "float32 [r,in], convolutions [r,in,kh,kw]; A of y += alpha/r * B (A x)";
            notes[options.Lora.Prefix + "<module path>.lora_B.weight"] = "float32 [out,r], convolutions [out,r,1,1]; B";
            notes["<LoRA tensor>" + TrainingGraph.GradientSuffix] = "d loss / d tensor, of the tensor's shape";
            notes["ortrlhf.lora_rank"] = $"{options.Lora.Rank}";
            notes["ortrlhf.lora_alpha"] = Number(options.Lora.Alpha ?? options.Lora.Rank);
            notes["ortrlhf.lora_targets"] = string.Join(",", options.Lora.Targets);
        }
        notes["ortrlhf.method"] = method.Name;
        notes["ortrlhf.loss"] = method.Formula;
        notes["ortrlhf.batch_size"] = $"{options.BatchSize}";
        if (method.IsPaired) notes["ortrlhf.rows"] = $"rows 0 to {(options.BatchSize / 2) - 1} are preferred, the others, in the same "
            + $"order, rejected; a pair {(method.IsPolicyGradient ? "is the same step of two trajectories of a prompt" : "has one timestep, one noise, one prompt")}";
        if (method.NeedsReference
            || options.ResolvedKlWeight > 0) notes["ortrlhf.reference"] = "the model without adapters, computed in this graph";
        if (method.NeedsReference) notes["ortrlhf.beta"] = Number(options.ResolvedBeta);
        if (!method.IsPolicyGradient) return;
        notes["ortrlhf.guidance_scale"] = Number(guidance);
        notes["ortrlhf.kl_weight"] = Number(options.ResolvedKlWeight);
        if (method.Name is "ddpo" or "flow-grpo" or "d3po") notes["ortrlhf.clip_range"] = Number(options.ResolvedClipRange);
    }

    private static string Note(Value value, string meaning) => $"{TypeOf(value.Type)} {value.Shape}; {meaning}";

    private static string TypeOf(ElementType type) => type == ElementType.Float ? "float32" : type.ToString().ToLowerInvariant();

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
