using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Inspection;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Passes;

namespace OrtRlhf.Cli.Commands;

/// <summary>Says what is in a model's folder.</summary>
[Verb("inspect", HelpText = "Lists the components of a model with class, number of parameters, inputs and outputs, the modules that LoRA "
    + "targets match, and operators that stand in the way of a gradient. "
    + "Nothing is run. For folders in diffusers' layout, exports in Optimum's, single components, and single .onnx files.")]
[Example("the model that ships", "inspect")]
[Example("which layers other LoRA targets match, each by its path", "inspect my-model --lora-targets \"attn1.to_*,ff.net.*\" --paths")]
[Example("an export of PyTorch's, for a script", "inspect my-unet/model.onnx --json report.json")]
internal sealed class InspectCommand : ICommand
{
    [Value(0, MetaName = "DIR", HelpText = "Folder of a model or a component, or an .onnx file. Default models/shapes, which ships.")]
    public string? Path { get; set; }

    [Option("lora-targets", MetaValue = "A,B",
        HelpText = "Ends of module paths, * for any part of a name, ** for any names. Default as in tune.")]
    public IEnumerable<string> LoraTargets { get; set; } = [];

    [Option("paths", HelpText = "List the path of every module that the targets match.")]
    public bool Paths { get; set; }

    [Option("json", MetaValue = "FILE", HelpText = "Write the report as JSON, paths included.")]
    public string? Json { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        var path = Path is not null && File.Exists(Path) ? Path : ModelFolder.Find(Path, ModelFolder.Components);
        var targets = LoraTargets.Any() ? [.. LoraTargets] : LoraOptions.JointAttentionTargets;
        var components = ModelInspection.Of(path, targets);
        if (Json is not null) JsonFile.Write(Json, new { path, targets, components });
        foreach (var component in components) InspectionScreen.Show(component, Paths);
        return ExitCode.Done;
    }
}
