using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Tuning.Metrics;

namespace OrtRlhf.Cli.Commands;

/// <summary>Writes what a run has learned in the format that others read.</summary>
[Verb("pack", HelpText = "Writes what a run has learned, or any adapter, in the format of another program: an adapter in diffusers' or "
    + "kohya's names or for ONNX Runtime, or the whole model with the adapter merged into its weights.")]
[Example("for diffusers and PEFT", "pack artifacts/runs/small --format diffusers")]
[Example("for programs that read kohya's names", "pack artifacts/runs/small --format kohya --output small.safetensors")]
[Example("the whole model, which needs no adapter any more", "pack artifacts/runs/small --format merged --output my-tuned-model")]
[Example("an adapter of others, for ONNX Runtime's API",
    "pack style.safetensors --model my-model --format onnx_adapter --output style.onnx_adapter")]
internal sealed class PackCommand : ICommand
{
    private static readonly string[] Formats = ["diffusers", "kohya", "onnx_adapter", "merged"];

    [Value(0, MetaName = "RUN", Required = true, HelpText = "Folder of a run, or an adapter's file.")]
    public string Source { get; set; } = "";

    [Option("format", Required = true, MetaValue = "NAME", HelpText = "diffusers (safetensors in the names of diffusers and PEFT), kohya "
        + "(safetensors in kohya's names), onnx_adapter (ONNX Runtime's adapter API), or merged (a folder with the whole model, in the "
        + "layout and precision it has).")]
    public string Format { get; set; } = "";

    [Option('o', "output", MetaValue = "PATH", HelpText = "File, or folder for merged. Default in RUN/packed.")]
    public string? Output { get; set; }

    [Option("model", MetaValue = "DIR", HelpText = "The model. Default the run's.")]
    public string? Model { get; set; }

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        if (!Formats.Contains(Format)) throw new UsageError(
            $"--format: expected {string.Join(", ", Formats.SkipLast(1))} or {Formats[^1]}, got '{Format}'");
        var isRun = Directory.Exists(Source);
        var file = isRun ? Path.Combine(new RunFolder(Source).Adapter, "adapter.safetensors") : Source;
        if (isRun && !File.Exists(file)) throw new UserError(
            $"run '{Source}': has no adapter yet ('{file}'); finish it with 'ortrlhf tune --resume {Source}'");
        var source = AdaptedModel.Find(file);
        if (Output is null && !isRun) throw new UsageError("pack: --output says where to write what is not in a run's folder");
        var output = Output ?? Path.Combine(Source, "packed", Format switch
        {
            "kohya" => "adapter-kohya.safetensors",
            "onnx_adapter" =>
            "adapter.onnx_adapter",
            "merged" => "model",
            _ => "adapter.safetensors"
        });
        if (Format == "merged") OutputPlace.RequireFolder("output", output);
        Write(source, output);
        Terminal.Line(output);
        return ExitCode.Done;
    }

    private void Write(AdaptedModel source, string output)
    {
        var file = source.Adapter! with { Path = output };
        var ending = Format == "onnx_adapter" ? ".onnx_adapter" : ".safetensors";
        if (Format != "merged" && Path.GetExtension(output) != ending) throw new UsageError(
            $"--output: expected a name that ends with {ending}, got '{output}'");
        if (Format == "merged") MergedModel.Write(Open(), source.Adapter, output);
        else if (Format == "kohya") Named().WriteKohya();
        else Named().Write();

        // Only kohya's names need a model to be understood.
        AdapterFile Named() => !file.HasKohyaNames ? file : Model is not null || source.Run is not null ? file.NamedAs(Open())
            : throw new UsageError("pack: --model: the adapter has kohya's names, which only its model tells apart; name it");

        ImageModel Open() =>
            ImageModel.Open(ModelFolder.Find(Model ?? (source.Run is null ? null : source.Options.Model)), source.Options.ModelOptions);
    }
}
