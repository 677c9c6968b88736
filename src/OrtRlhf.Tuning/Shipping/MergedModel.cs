using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Sampling;

namespace OrtRlhf.Tuning.Shipping;

/// <summary>
/// A model with an adapter merged into its denoiser's weights, <c>W' = W + B A</c>, as a folder of the same layout: weights stay weights, a graph stays a graph,
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
        if (Path.GetFullPath(folder).TrimEnd('/') == Path.GetFullPath(model.Folder).TrimEnd('/')) throw new UserError($"merged model '{folder}': is the model's own folder; give another one");
        using var policy = Policy.WithAdapter(model, file);
        var layers = AdapterFile.Of(policy, file.Path).Layers.ToDictionary(l => l.Module, l => (l.A, l.B), StringComparer.Ordinal);
        var denoiser = ModelIndex.Open(model.Folder).Component(model.DenoiserName);
        DiskFault.Guard(folder, () => Copy(model.Folder, folder, model.DenoiserName));
        var target = Path.Combine(folder, model.DenoiserName);
        if (denoiser.IsOnnx)
        {
            var graph = denoiser.ReadGraph();
            MergeLora.Apply(graph, layers);
            OnnxFile.Write(graph, Path.Combine(target, "model.onnx"));
            return;
        }
        var weights = denoiser.Tensors().Tensors;
        var missing = layers.Keys.FirstOrDefault(module => !weights.ContainsKey(module + ".weight"));
        if (missing is not null) throw new UserError($"adapter '{file.Path}': '{missing}': model '{model.Name}' has no weight of that name");
        AtomicFile.Write(Path.Combine(target, "diffusion_pytorch_model.safetensors"), stream => SafetensorsFile.Write(
            stream, weights.Select(w => KeyValuePair.Create(w.Key, Merged(w.Key, w.Value))), new Dictionary<string, string> { ["format"] = "pt" }));

        Tensor Merged(string name, Tensor weight) =>
            name.EndsWith(".weight", StringComparison.Ordinal) && layers.TryGetValue(name[..^".weight".Length], out var layer) ? MergeLora.Add(weight, layer.A, layer.B) : weight;
    }

    // The index and the components' files, but not the denoiser's weights, nor whole models in one file that some folders have beside them.
    private static void Copy(string from, string to, string denoiser)
    {
        foreach (var (source, name) in Files(from, "").Concat(Directory.EnumerateDirectories(from).Where(d => !Path.GetFileName(d).StartsWith('.')).SelectMany(d => Files(d, Path.GetFileName(d)))))
        {
            PlainFile.CheckLink(source, Path.GetDirectoryName(source)!, $"model '{from}'");
            var target = Path.Combine(to, name);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(source, target, overwrite: true);
        }

        IEnumerable<(string Source, string Name)> Files(string folder, string component) => Directory.EnumerateFiles(folder)
            .Where(file => Copied.Contains(Path.GetExtension(file)) && (component.Length > 0 || Path.GetFileName(file) == "model_index.json")
                && (component != denoiser || Path.GetFileName(file) == "config.json"))
            .Select(file => (file, Path.Combine(component, Path.GetFileName(file))));
    }
}
