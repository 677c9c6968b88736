using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Shipping;

/// <summary>
/// A model with an adapter merged into the weights of its denoiser and text encoders, <c>W' = W + B A</c>, as a folder of the same layout:
/// weights stay weights, a graph stays a graph,
/// in their own precision. Everything else is copied. Weights are streamed: one tensor at a time is in memory.
/// </summary>
public static class MergedModel
{
    private static readonly string[] Copied = [".json", ".txt", ".model", ".safetensors", ".onnx", ".onnx_data", ".data"];

    /// <summary>Writes the folder.</summary>
    /// <param name="model">The model.</param>
    /// <param name="file">The adapter.</param>
    /// <param name="folder">Where to; made if need be.</param>
    /// <exception cref="UserError">The adapter does not fit, or the place is the model's own or cannot be written.</exception>
    public static void Write(ImageModel model, AdapterFile file, string folder)
    {
        if (Path.GetFullPath(folder).TrimEnd('/') == Path.GetFullPath(model.Folder)
            .TrimEnd('/')) throw new UserError($"merged model '{folder}': is the model's own folder; give another one");
        using var policy = Policy.WithAdapter(model, file);
        var adapter = AdapterFile.Of(policy, file.Path);
        var components = adapter.Layers.Concat(adapter.TextLayers).GroupBy(l => l.Component)
            .ToDictionary(g => g.Key, g => g.ToDictionary(l => l.Module, l => (l.A, l.B), StringComparer.Ordinal), StringComparer.Ordinal);
        var index = ModelIndex.Open(model.Folder);
        DiskFault.Guard(folder, () => Copy(model.Folder, folder, components.ContainsKey));
        foreach (var (name, layers) in components) Merge(index.Component(name), layers, Path.Combine(folder, name), file.Path);
    }

    private static void Merge(ComponentFolder component, Dictionary<string, (Tensor A, Tensor B)> layers, string target, string file)
    {
        if (component.IsOnnx)
        {
            var graph = component.ReadGraph();
            MergeLora.Apply(graph, layers);
            OnnxFile.Write(graph, Path.Combine(target, "model.onnx"));
            return;
        }
        var weights = component.Tensors().Tensors;
        var missing = layers.Keys.FirstOrDefault(module => !weights.ContainsKey(module + ".weight"));
        if (missing is not null) throw new UserError($"adapter '{file}': '{missing}': '{component.Path}' has no weight of that name");
        // As transformers and diffusers name the files of theirs.
        var name = AdapterFile.TextEncoders.Contains(component.Name) ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
        AtomicFile.Write(Path.Combine(target, name), stream => SafetensorsFile.Write(
            stream, weights.Select(w => KeyValuePair.Create(w.Key, Merged(w.Key, w.Value))),
                new Dictionary<string, string> { ["format"] = "pt" }));

        Tensor Merged(string weight, Tensor data) =>
            weight.EndsWith(".weight", StringComparison.Ordinal) && layers.TryGetValue(weight[..^".weight".Length], out var layer)
                ? MergeLora.Add(data, layer.A, layer.B) : data;
    }

    // The index and the components' files, but not the weights that others take the place of, nor whole models in one file that some
    // folders have beside them.
    private static void Copy(string from, string to, Func<string, bool> isMerged)
    {
        foreach (var (source, name) in Files(from, "").Concat(Directory.EnumerateDirectories(from).Where(d =>
            !Path.GetFileName(d).StartsWith('.')).SelectMany(d => Files(d, Path.GetFileName(d)))))
        {
            PlainFile.CheckLink(source, Path.GetDirectoryName(source)!, $"model '{from}'");
            var target = Path.Combine(to, name);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(source, target, overwrite: true);
        }

        IEnumerable<(string Source, string Name)> Files(string folder, string component) => Directory.EnumerateFiles(folder)
            .Where(file => Copied.Contains(Path.GetExtension(file))
                && (component.Length > 0 || Path.GetFileName(file) == "model_index.json")
                && (!isMerged(component) || Path.GetExtension(file) is ".json" or ".txt"
                    && !Path.GetFileName(file).Contains(".index.", StringComparison.Ordinal)))
            .Select(file => (file, Path.Combine(component, Path.GetFileName(file))));
    }
}
