using CommandLine;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tuning.Sampling;
using OrtRlhf.Tuning.Shipping;

namespace OrtRlhf.Cli.Commands;

/// <summary>Writes a model as ONNX files.</summary>
[Verb("import", HelpText = "Writes a model as ONNX files in Optimum's layout, for any application that runs ONNX Runtime. "
    + "The denoiser takes adapters as inputs with empty defaults: without one it is the base model, with an .onnx_adapter of a run that ONNX Runtime activates the tuned one.")]
[Example("the model that ships, for adapters of its runs", "import --output artifacts/shapes-onnx")]
[Example("a checkpoint folder, without inputs for adapters", "import my-model --lora-targets none --output my-model-onnx")]
internal sealed class ImportCommand : ICommand
{
    [Value(0, MetaName = "FOLDER", HelpText = "Folder of a model in diffusers' layout. Default models/shapes, which ships.")]
    public string? Folder { get; set; }

    [Value(1, Hidden = true)]
    public IEnumerable<string> Rest { get; set; } = [];

    [Option('o', "output", Required = true, MetaValue = "DIR", HelpText = "Folder to write.")]
    public string Output { get; set; } = "";

    [Option("lora-targets", Separator = ',', MetaValue = "A,B", HelpText = "Layers that take adapters, ends of module paths, * for any part; none for a plain model. Default to_q,to_k,to_v,to_out.0, as in tune.")]
    public IEnumerable<string> LoraTargets { get; set; } = [];

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        OutputPlace.RequireFolder("output", Output);
        var model = ImageModel.Open(ModelFolder.Find(Folder));
        var lora = LoraTargets.SequenceEqual(["none"]) ? null : LoraTargets.Any() ? new LoraOptions { Targets = [.. LoraTargets] } : new LoraOptions();
        PipelineExport.Write(model, lora, Output);
        foreach (var file in Directory.EnumerateFiles(Output, "model.onnx", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            Terminal.Line($"{file}  {new FileInfo(file).Length / 1e6:F1} MB");
        return ExitCode.Done;
    }
}
