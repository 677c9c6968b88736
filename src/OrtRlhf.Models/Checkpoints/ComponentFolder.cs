using System.Text.Json;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Models;

/// <summary>
/// A component of a pipeline: a folder with <c>config.json</c> and safetensors, as diffusers and transformers write it, or with
/// <c>model.onnx</c>, as
/// Optimum does.
/// </summary>
public sealed class ComponentFolder
{
    private const string OnnxName = "model.onnx";

    // Full precision first: it is what the reference computes with. An index names the files of weights that are split.
    private static readonly string[] WeightNames =
        [.. from variant in (string[])["", ".fp16", ".bf16"] from stem in (string[])["diffusion_pytorch_model", "model"] from end in (
            string[])["{0}{1}.safetensors", "{0}.safetensors.index{1}.json"] select string.Format(null, end, stem, variant)];

    private ComponentFolder(string path, string name, string className, string config) =>
        (Path, Name, ClassName, Config) = (path, name, className, config);

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>The component's name in its pipeline, such as <c>unet</c>.</summary>
    public string Name { get; }

    /// <summary>Class of the model, from its own config.json where that says one, otherwise from the pipeline's index.</summary>
    public string ClassName { get; }

    /// <summary>Text of config.json; <c>{}</c> for an exported graph without one.</summary>
    public string Config { get; }

    /// <summary>Whether it is a graph (<c>model.onnx</c>), and not weights.</summary>
    public bool IsOnnx => File.Exists(System.IO.Path.Combine(Path, OnnxName));

    /// <summary>Opens a folder; weights are not read yet.</summary>
    /// <param name="path">The folder.</param>
    /// <param name="name">The component's name, for messages.</param>
    /// <param name="className">Its class where config.json does not say one.</param>
    /// <exception cref="UserError">The folder or its config.json is missing, or not valid.</exception>
    public static ComponentFolder Open(string path, string name, string className = "")
    {
        if (!Directory.Exists(path)) throw new UserError($"{name}: no folder '{path}'; the pipeline is not whole, fetch it again");
        var isOnnx = File.Exists(System.IO.Path.Combine(path, OnnxName));
        var text = isOnnx ? CheckpointFile.Find(path, "config.json") ?? "{}" : CheckpointFile.Read(path, "config.json");
        var json = CheckpointFile.Json(System.IO.Path.Combine(path, "config.json"), text);
        return new ComponentFolder(path, name, ClassOf(json) ?? className, text);
    }

    /// <summary>Demands one of some classes.</summary>
    /// <exception cref="UserError">It is another one: names both.</exception>
    public void Expect(params IReadOnlyList<string> classes)
    {
        if (!classes.Contains(ClassName))
            throw new UserError(
                $"{Name}: {(classes.Count == 1 ? $"{classes[0]} is" : $"{string.Join(", ", classes.SkipLast(1))} and {classes[^1]} are")} supported, got {(ClassName.Length == 0 ? "no class name" : ClassName)} in '{Path}'");
    }

    /// <summary>Its weights; of several files the one in the highest precision. Tensors are read when they are asked for.</summary>
    /// <param name="type">Element type to convert them to.</param>
    /// <param name="trainable">Whether graphs built with them take them as parameters.</param>
    /// <exception cref="UserError">There are none, or the file is truncated or not valid.</exception>
    public Weights Weights(ElementType type = ElementType.Float, bool trainable = false) => new(Tensors().Tensors, trainable, type);

    /// <summary>Its tensors by name; names that older diffusers wrote are brought up to date.</summary>
    /// <exception cref="UserError">As <see cref="Weights"/>.</exception>
    public SafetensorsFile Tensors()
    {
        if (WeightNames.FirstOrDefault(n => File.Exists(System.IO.Path.Combine(Path, n))) is not { } file)
        {
            var pickle = Directory.EnumerateFiles(Path, "*.bin").Any();
            throw new UserError($"{Name}: no weights in '{Path}'; expected "
                + $"{string.Join(" or ", WeightNames.Take(4))}{(pickle ? "; .bin files can run code when they are opened: save the model with safe_serialization=True" : "")}");
        }
        var path = System.IO.Path.Combine(Path, file);
        PlainFile.CheckLink(path, Path, Name);
        return FormerNames.Today(SafetensorsFile.Open(path));
    }

    /// <summary>The exported graph, its shapes inferred.</summary>
    /// <exception cref="UserError">There is none, or it is not valid.</exception>
    public OnnxGraph ReadGraph()
    {
        var path = System.IO.Path.Combine(Path, OnnxName);
        PlainFile.CheckLink(path, Path, Name);
        return OnnxFile.Read(path);
    }

    // diffusers has _class_name, transformers a list of architectures.
    private static string? ClassOf(JsonElement config)
    {
        if (config.TryGetProperty("_class_name", out var name) && name.ValueKind == JsonValueKind.String) return name.GetString();
        return config.TryGetProperty("architectures", out var list) && list.ValueKind == JsonValueKind.Array && list.GetArrayLength() > 0
            && list[0].ValueKind == JsonValueKind.String
            ? list[0].GetString() : null;
    }
}
