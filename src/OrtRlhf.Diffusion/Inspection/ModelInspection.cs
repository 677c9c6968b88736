using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Models;

namespace OrtRlhf.Diffusion.Inspection;

/// <summary>
/// Says what is in a model's folder without running it: components, sizes, where adapters can go, and what stands in the way of a gradient.
/// </summary>
public static class ModelInspection
{
    private const int LargestCount = 64;
    private const string Decoder = "_decoder", Encoder = "_encoder";

    /// <summary>Inspects a pipeline's folder, a component's, or a single ONNX file.</summary>
    /// <param name="path">The folder or file.</param>
    /// <param name="targets">LoRA targets, as in <see cref="LoraOptions.Targets"/>.</param>
    /// <exception cref="UserError">There is nothing there, or a file is damaged or hostile.</exception>
    public static IReadOnlyList<ComponentReport> Of(string path, IReadOnlyList<string> targets)
    {
        if (File.Exists(path))
        {
            if (!path.EndsWith(".onnx",
                StringComparison.OrdinalIgnoreCase)) throw new UserError($"inspect '{path}': expected a folder or an .onnx file");
            return [GraphInspection.Of(Path.GetFileName(path), "", OnnxFile.Read(path), targets)];
        }
        if (!Directory.Exists(path)) throw new UserError($"inspect '{path}': there is no such folder or file");
        var index = File.Exists(Path.Combine(path, "model_index.json")) ? ModelIndex.Open(path) : null;
        if (index is null && IsComponent(path)) return [.. Component(path, new DirectoryInfo(path).Name, "", targets)];

        var names = Directory.EnumerateDirectories(path).Take(LargestCount + 1).Select(p => Path.GetFileName(p)!).ToList();
        if (names.Count > LargestCount) throw new UserError(
            $"inspect '{path}': more than {LargestCount} folders; give a model's own folder");
        var reports = new List<ComponentReport>();
        foreach (var name in names.Order(StringComparer.Ordinal))
        {
            var (folder, className) = (Path.Combine(path, name), index?.ClassOf(name) ?? "");
            if (new DirectoryInfo(folder).LinkTarget is not null) throw new UserError(
                $"inspect '{path}': '{name}' is a link; put the folder itself there");
            if (IsComponent(folder)) reports.AddRange(Component(folder, name, className, targets));
            else if (className.Length > 0) reports.Add(new ComponentReport { Name = name, Class = className, Format = "files" });
        }
        reports.AddRange((index?.Components ?? []).Where(c => !names.Contains(c)).Select(c =>
            new ComponentReport { Name = c, Class = index!.ClassOf(c), Format = "files", Note = $"no folder '{c}'" }));
        return reports.Count > 0 ? reports : throw new UserError(
            $"inspect '{path}': no model there; expected model_index.json, folders with config.json and safetensors, or model.onnx");
    }

    private static bool IsComponent(string folder) =>
        File.Exists(Path.Combine(folder, "model.onnx"))
            || (File.Exists(Path.Combine(folder, "config.json")) && Directory.EnumerateFiles(folder, "*.safetensors*").Any());

    private static IEnumerable<ComponentReport> Component(string folder, string name, string className, IReadOnlyList<string> targets)
    {
        var component = ComponentFolder.Open(folder, name, className);
        if (component.IsOnnx) return [GraphInspection.Of(name, component.ClassName, component.ReadGraph(), targets)];
        var tensors = component.Tensors().Tensors.Where(t => t.Value.Type.IsFloating()).ToList();
        var report = new ComponentReport
        {
            Name = name,
            Class = component.ClassName,
            Format = "safetensors",
            Parameters = tensors.Sum(t => t.Value.Count),
            Types = GraphInspection.Types(tensors.Select(t => t.Value)),
        };
        try
        {
            return [.. Graphs(component).Select(g =>
                GraphInspection.Add(report with { Name = name + g.Part, Parameters = Count(g.Part) }, g.Graph, targets))];
        }
        catch (UserError fault)
        {
            return [report with { Note = fault.Message }];
        }

        // An autoencoder's halves are of one file.
        long Count(string part) => tensors.Where(t => part.Length == 0 || t.Key.StartsWith(part[1..] + ".", StringComparison.Ordinal)
            || t.Key.StartsWith(part == Decoder ? "post_quant_conv." : "quant_conv.", StringComparison.Ordinal)).Sum(t => t.Value.Count);
    }

    /// <summary>The graphs of a component that we know how to build; both towers of CLIP are one.</summary>
    private static List<(string Part, OnnxGraph Graph)> Graphs(ComponentFolder component) =>
        ComponentGraphs.Classes.Contains(component.ClassName)
        ? [.. ComponentGraphs.Build(component, "", component.Weights()).Where(g => g.Place is "" or Decoder or Encoder).Select(g =>
            (g.Place, g.Graph))]
        : throw new UserError($"class {(component.ClassName.Length == 0 ? "not said in config.json" : component.ClassName)} cannot be "
            + $"built here; {string.Join(", ", ComponentGraphs.Classes)} can");
}
