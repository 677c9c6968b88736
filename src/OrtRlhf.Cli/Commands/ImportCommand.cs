using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Models;

namespace OrtRlhf.Cli.Commands;

/// <summary>Makes ONNX models of a checkpoint.</summary>
[Verb("import", HelpText = "Makes ONNX models of a checkpoint folder, in Optimum's layout: unet/model.onnx, text_encoder/model.onnx, "
    + "vae_decoder/model.onnx and so on. 'tune' and 'sample' "
    + "take the result, and so does any application that runs ONNX Runtime. FOLDER is a pipeline with model_index.json, a folder of "
        + "components (each with a config.json), or one "
    + "component: Stable Diffusion 1, 2 and XL, unconditional U-Nets, their autoencoders and text encoders, CLIP. Weights are "
        + "safetensors, of any size: they are streamed. "
    + "Denoisers take adapters as inputs with empty defaults: without one they are the base model, with an .onnx_adapter of a run that "
        + "ONNX Runtime activates the tuned one.")]
[Example("a Stable Diffusion folder, and a picture of it",
    "import stable-diffusion-v1-5 --output sd15 && ortrlhf sample sd15 --prompt \"a red fox\"")]
[Example("half precision: half the size, for GPUs", "import stable-diffusion-v1-5 --dtype fp16 --output sd15-fp16")]
[Example("one component, without inputs for adapters", "import my-model/unet --lora-targets none --output my-unet")]
[Example("the model that ships, for adapters of its runs", "import --output artifacts/shapes-onnx")]
internal sealed class ImportCommand : ICommand
{
    private const double Megabyte = 1e6;

    [Value(0, MetaName = "FOLDER",
        HelpText = "The checkpoint, as save_pretrained of diffusers and transformers writes it. Default models/shapes, which ships.")]
    public string? Folder { get; set; }

    [Option('o', "output", Required = true, MetaValue = "DIR",
        HelpText = "Folder to write: whole, or not at all. One that an earlier import wrote is replaced.")]
    public string Output { get; set; } = "";

    [Option("dtype", MetaValue = "TYPE", HelpText = "fp32 or fp16, of weights, inputs, outputs and computations; statistics of "
        + "normalisations are fp32 in both, and so is all of an "
        + "autoencoder whose config.json has force_upcast. Default fp32; ONNX models keep the type they have.")]
    public string? Dtype { get; set; }

    [Option("lora-targets", MetaValue = "A,B",
        HelpText = "Layers that take adapters, ends of module paths, * for any part; none for a plain model. Default as in tune.")]
    public IEnumerable<string> LoraTargets { get; set; } = [];

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        var options = new ImportOptions
        {
            Type = Dtype switch
            {
                null => null,
                "fp32" => ElementType.Float,
                "fp16" => ElementType.Float16,
                _ => throw new UsageError($"--dtype: expected fp32 or fp16, got '{Dtype}'"),
            },
            LoraTargets = LoraTargets.SequenceEqual(["none"]) ? [] : LoraTargets.Any() ? [.. LoraTargets] : null,
        };
        OutputPlace.RequireFolder("output", Output);
        var plan = ImportPlan.Make(ModelFolder.Find(Folder, ModelFolder.Components), options);
        Work.Show("importing", (int)(plan.Bytes / Megabyte) + 1, show =>
        {
            CheckpointImport.Write(plan, Output, progress => show((int)(progress.Done / Megabyte)), cancellation);
            return true;
        });
        foreach (var place in plan.Graphs.Select(g => Path.Combine(Output, g.Place, "model.onnx")))
            Terminal.Line($"{place}  {Size(place) / Megabyte:F1} MB{(File.Exists(place + ".data") ? " with model.onnx.data" : "")}");
        foreach (var name in plan.LeftOut) Terminal.Line($"left out: {name}");
        return ExitCode.Done;
    }

    private static long Size(string model) => new[] { model, model + ".data" }.Where(File.Exists).Sum(f => new FileInfo(f).Length);
}
