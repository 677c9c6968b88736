using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;

namespace OrtRlhf.Models;

/// <summary>The <c>model_index.json</c> of a pipeline folder: its components and their classes, as diffusers writes it.</summary>
public sealed class ModelIndex
{
    internal const string FileName = "model_index.json";
    private readonly Dictionary<string, string> _classes;

    private readonly Dictionary<string, bool> _flags;

    private ModelIndex(string folder, string pipeline, Dictionary<string, string> classes, Dictionary<string, bool> flags) =>
        (Folder, Pipeline, _classes, _flags) = (folder, pipeline, classes, flags);

    /// <summary>The pipeline's folder.</summary>
    public string Folder { get; }

    /// <summary>Class of the pipeline, such as <c>StableDiffusionPipeline</c>; empty where it is not said.</summary>
    public string Pipeline { get; }

    /// <summary>Names of the components that the pipeline has.</summary>
    public IReadOnlyCollection<string> Components => _classes.Keys;

    /// <summary>Reads the index of a folder.</summary>
    /// <exception cref="UserError">There is no such folder or no index in it, or it is not valid.</exception>
    public static ModelIndex Open(string folder)
    {
        if (!Directory.Exists(folder)) throw new UserError(
            $"model '{folder}': no such folder; expected one with {FileName}, as diffusers' save_pretrained writes it");
        if (CheckpointFile.Find(folder, FileName) is not { } text)
            throw new UserError($"model '{folder}': no {FileName}; expected a whole pipeline (scheduler, tokenizer, text_encoder, unet, "
                + $"vae), as diffusers' save_pretrained writes it");
        var classes = new Dictionary<string, string>(StringComparer.Ordinal);
        var flags = new Dictionary<string, bool>(StringComparer.Ordinal);
        var pipeline = "";
        foreach (var entry in CheckpointFile.Json(Path.Combine(folder, FileName), text).EnumerateObject())
        {
            if (entry.Name == "_class_name" && entry.Value.ValueKind == JsonValueKind.String) pipeline = entry.Value.GetString()!;
            if (entry.Value.ValueKind is JsonValueKind.True or JsonValueKind.False) flags[entry.Name] = entry.Value.GetBoolean();
            // [library, class], both null for a component that was left out.
            if (entry.Value.ValueKind != JsonValueKind.Array || entry.Value.GetArrayLength() != 2
                || entry.Value[1].ValueKind != JsonValueKind.String) continue;
            PlainFile.Check(folder, entry.Name, $"model '{folder}': {FileName}");
            classes[entry.Name] = entry.Value[1].GetString()!;
        }
        return new ModelIndex(folder, pipeline, classes, flags);
    }

    /// <summary>Class of a component; empty for one that the index does not name.</summary>
    public string ClassOf(string name) => _classes.GetValueOrDefault(name, "");

    /// <summary>A truth value of the pipeline, such as <c>force_zeros_for_empty_prompt</c>.</summary>
    /// <param name="name">Its key.</param>
    /// <param name="otherwise">What holds where it is missing.</param>
    public bool Flag(string name, bool otherwise) => _flags.GetValueOrDefault(name, otherwise);

    /// <summary>Whether a component's folder is there.</summary>
    public bool Has(string name) => Directory.Exists(Path.Combine(Folder, name));

    /// <summary>A component with weights.</summary>
    /// <exception cref="UserError">Its folder is missing or not valid.</exception>
    public ComponentFolder Component(string name) => ComponentFolder.Open(FolderOf(name), name, ClassOf(name));

    /// <summary>The folder of a component, such as <c>tokenizer</c> or <c>scheduler</c>.</summary>
    /// <exception cref="UserError">It is missing.</exception>
    public string FolderOf(string name) => Has(name)
        ? Path.Combine(Folder, name)
        : throw new UserError($"model '{Folder}': no folder '{name}'; {FileName} names "
            + $"{(_classes.Count == 0 ? "no components" : string.Join(", ", _classes.Keys.Order(StringComparer.Ordinal)))}, fetch the "
            + $"whole pipeline");
}
