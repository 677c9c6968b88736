using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>A folder in diffusers layout: parts are folders, and so the first word of their tensors' names.</summary>
internal static class PipelineFolder
{
    /// <summary>Writes what is not trained.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="index">Its model_index.json.</param>
    /// <param name="scheduler">Its scheduler_config.json.</param>
    /// <param name="tokenizers">Folders of the tokenizer.</param>
    public static void WriteFrame(string folder, string index, string scheduler, params string[] tokenizers)
    {
        foreach (var tokenizer in tokenizers) SceneVocabulary.Write(Path.Combine(folder, tokenizer));
        Directory.CreateDirectory(Path.Combine(folder, "scheduler"));
        File.WriteAllText(Path.Combine(folder, "scheduler", "scheduler_config.json"), scheduler + "\n");
        File.WriteAllText(Path.Combine(folder, "model_index.json"), index + "\n");
    }

    /// <summary>Writes a trained part, half precision.</summary>
    /// <param name="folder">The model's folder.</param>
    /// <param name="part">vae, unet, text_encoder, ...</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="tensors">Tensors of all parts.</param>
    public static void WritePart(string folder, string part, string config, IReadOnlyDictionary<string, Tensor> tensors)
    {
        var path = Path.Combine(folder, part);
        Directory.CreateDirectory(path);
        File.WriteAllText(Path.Combine(path, "config.json"), config + "\n");
        SafetensorsFile.Write(
            WeightsPath(folder, part),
            tensors.Where(t => t.Key.StartsWith(part + ".", StringComparison.Ordinal)).OrderBy(t => t.Key, StringComparer.Ordinal)
                .Select(t => KeyValuePair.Create(t.Key[(part.Length + 1)..], t.Value.As(ElementType.Float16))),
            new Dictionary<string, string> { ["format"] = "pt" });
    }

    /// <summary>The weights of a part; none if it has not been trained.</summary>
    public static Dictionary<string, Tensor> ReadPart(string folder, string part) => !HasPart(folder, part) ? []
        : SafetensorsFile.Open(WeightsPath(folder, part)).Tensors.ToDictionary(t => $"{part}.{t.Key}", t =>
            Tensor.Of(t.Value.ToFloats(), t.Value.Dims), StringComparer.Ordinal);

    /// <summary>Whether a part has been trained.</summary>
    public static bool HasPart(string folder, string part) => File.Exists(WeightsPath(folder, part));

    private static string WeightsPath(string folder, string part) =>
        Path.Combine(folder, part, part.StartsWith("text_encoder", StringComparison.Ordinal) ? "model.safetensors"
            : "diffusion_pytorch_model.safetensors");
}
