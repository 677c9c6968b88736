using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Models;

/// <summary>How a checkpoint is imported.</summary>
public sealed record ImportOptions
{
    /// <summary>
    /// Element type of weights and computations, Float or Float16; null: Float, and for graphs that are ONNX already the one they have.
    /// </summary>
    public ElementType? Type { get; init; }

    /// <summary>
    /// Which layers of denoisers declare adapters as inputs with empty defaults, as <see cref="LoraOptions.Targets"/>; none for no
    /// adapters. Null, the default, is
    /// <see cref="LoraOptions.TargetsFor"/>.
    /// </summary>
    public IReadOnlyList<string>? LoraTargets { get; init; }
}

/// <summary>A file that goes along as it is.</summary>
/// <param name="Source">The file.</param>
/// <param name="Place">Its path in the exported folder.</param>
public sealed record ImportedFile(string Source, string Place);

/// <summary>
/// What an import will write, found from the configurations of a folder: with a model_index.json the components that it names, without one
/// every subfolder with
/// a config.json, or the folder itself if it has one. All graphs are built here, without their weights, so that faults come before the long
/// work.
/// </summary>
public sealed class ImportPlan
{
    private const string ConfigName = "config.json";

    private static readonly string[] LeftOutClasses = ["StableDiffusionSafetyChecker"];

    private static readonly string[] SideFiles =
    [
        "scheduler_config.json", "preprocessor_config.json", "vocab.json", "merges.txt", "tokenizer_config.json",
            "special_tokens_map.json", "added_tokens.json", "tokenizer.json", "spiece.model",
    ];

    /// <summary>Names of all files that <see cref="Files"/> can have.</summary>
    public static IReadOnlyList<string> FileNames { get; } = [.. SideFiles, ModelIndex.FileName, ConfigName];

    private readonly List<ComponentGraph> _graphs = [];
    private readonly List<ImportedFile> _files = [];
    private readonly List<string> _leftOut = [];
    private bool _isFlow;

    private ImportPlan(string folder) => Folder = folder;

    /// <summary>The folder that is imported.</summary>
    public string Folder { get; }

    /// <summary>Graphs to write as <c>PLACE/model.onnx</c>.</summary>
    public IReadOnlyList<ComponentGraph> Graphs => _graphs;

    /// <summary>Files to copy: configurations, schedulers, tokenizers.</summary>
    public IReadOnlyList<ImportedFile> Files => _files;

    /// <summary>Components that no image is made with, such as the safety checker.</summary>
    public IReadOnlyList<string> LeftOut => _leftOut;

    /// <summary>Bytes of all weights as they will be written.</summary>
    public long Bytes => Graphs.Sum(g => g.Graph.Values.Values.Sum(v => v.Data?.ByteLength ?? 0));

    /// <summary>Reads a folder's configurations and builds its graphs.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="options">How.</param>
    /// <exception cref="UserError">
    /// There is nothing to import; a component is missing, damaged or leads out of the folder; a class or an option is not supported (names
    /// it).
    /// </exception>
    public static ImportPlan Make(string folder, ImportOptions options)
    {
        if (!Directory.Exists(folder)) throw new UserError($"model '{folder}': no such folder");
        var plan = new ImportPlan(folder);
        if (File.Exists(Path.Combine(folder, ModelIndex.FileName))) plan.AddPipeline(ModelIndex.Open(folder), options);
        else if (IsModel(folder)) plan.AddModel(ComponentFolder.Open(folder, new DirectoryInfo(folder).Name), null, options,
            hiddenStates: false);
        else plan.AddSubfolders(options);
        if (plan._graphs.Count > 0) return plan;
        throw new UserError($"model '{folder}': nothing to import; expected {ModelIndex.FileName}, or subfolders with a config.json, or "
            + $"a config.json with weights, as save_pretrained of diffusers and transformers writes them, or an export's model.onnx in "
            + $"their places");
    }

    private void AddPipeline(ModelIndex index, ImportOptions options)
    {
        Copy("", ModelIndex.FileName);
        _isFlow = index.ClassOf("scheduler").StartsWith("FlowMatch", StringComparison.Ordinal);
        foreach (var name in index.Components.Order(StringComparer.Ordinal))
        {
            if (index.Has(name)) Add(name, index.ClassOf(name), options);
            else if (LeftOutClasses.Contains(index.ClassOf(name))) _leftOut.Add($"{name} ({index.ClassOf(name)})");
            else if (!index.Has(name + "_decoder")) index.FolderOf(name); // says what is missing
            else foreach (var half in (string[])["_decoder", "_encoder"]) if (index.Has(name + half)) Add(name + half, index.ClassOf(name),
                options);
        }
    }

    private void AddSubfolders(ImportOptions options)
    {
        foreach (var name in Directory.EnumerateDirectories(Folder).Select(p => Path.GetFileName(p)!)
            .Order(StringComparer.Ordinal)) Add(name, "", options);
    }

    private void Add(string name, string className, ImportOptions options)
    {
        PlainFile.Check(Folder, name, $"model '{Folder}'");
        var path = Path.Combine(Folder, name);
        if (!IsModel(path))
        {
            foreach (var file in SideFiles) Copy(name, file);
            CheckTokenizer(path);
            return;
        }
        var component = ComponentFolder.Open(path, name, className);
        if (LeftOutClasses.Contains(component.ClassName)) _leftOut.Add($"{name} ({component.ClassName})");
        else AddModel(component, name, options, Directory.Exists(Path.Combine(Folder, "text_encoder_2")));
    }

    private void AddModel(ComponentFolder component, string? name, ImportOptions options, bool hiddenStates)
    {
        if (!component.IsOnnx) component.Expect([.. ComponentGraphs.Classes]);
        var from = name ?? "";
        name ??= component.IsOnnx ? "" : ComponentGraphs.NameOf(component.ClassName);
        IReadOnlyList<ComponentGraph> graphs = component.IsOnnx
            ? [new ComponentGraph(name, Exported(component, options.Type))]
            : ComponentGraphs.Build(component, name, component.Weights(options.Type ?? ElementType.Float), hiddenStates, _isFlow);
        var denoiser = ComponentGraphs.IsDenoiser(component.ClassName);
        if (options.LoraTargets is not { Count: 0 } && (denoiser || component is { IsOnnx: true, Name: "unet" or "transformer" }))
        {
            var named = denoiser ? ComponentGraphs.NameOf(component.ClassName) : component.Name;
            var lora = new LoraOptions
            {
                Targets = options.LoraTargets ?? LoraOptions.TargetsFor(named),
                AnyRank = true,
                Type = ElementType.Float,
                Prefix = named + "."
            };
            foreach (var graph in graphs.Select(g => g.Graph).Where(g => Takes(g, options))) InjectLora.Apply(graph, lora);
        }
        _graphs.AddRange(graphs);
        foreach (var place in graphs.Select(g => g.Place).Where(p => component.ClassName != "CLIPModel" || p == name)) Copy(from,
            ConfigName, place);
        foreach (var file in SideFiles) Copy(from, file, name);
        CheckTokenizer(component.Path);
    }

    // A U-Net without attention has none of the layers that are adapted by default; layers that were asked for must be there.
    private static bool Takes(OnnxGraph graph, ImportOptions options) =>
        options.LoraTargets is not null || graph.Nodes.Any(n => n.Name.Contains("/to_q/", StringComparison.Ordinal));

    private static OnnxGraph Exported(ComponentFolder component, ElementType? type)
    {
        var graph = component.ReadGraph();
        ExportedGraph.RemoveEmptyAdapters(graph);
        if (type == ElementType.Float) WidenHalves.Apply(graph);
        else if (type == ElementType.Float16) KeepInHalves.Apply(graph);
        return graph;
    }

    private void Copy(string from, string file, string? to = null)
    {
        var source = Path.Combine(Folder, from, file);
        if (!File.Exists(source)) return;
        CheckpointFile.Check(Path.Combine(Folder, from), file, CheckpointFile.LargeLimit);
        _files.Add(new ImportedFile(source, Path.Combine(to ?? from, file)));
    }

    // CLIP's and T5's files are what the text encoders here are used with.
    private static void CheckTokenizer(string folder)
    {
        if (File.Exists(Path.Combine(folder, "vocab.json")) && File.Exists(Path.Combine(folder, "merges.txt"))) ClipTokenizer.Open(folder);
        else if (File.Exists(Path.Combine(folder, UnigramTokenizer.FileName))
            || File.Exists(Path.Combine(folder, "spiece.model"))) UnigramTokenizer.Open(folder);
    }

    private static bool IsModel(string folder) =>
        File.Exists(Path.Combine(folder, ConfigName)) || File.Exists(Path.Combine(folder, "model.onnx"));
}
