using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning.Optimizers;
using OrtRlhf.Tuning.Artifacts;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Training;

namespace OrtRlhf.Cli.Commands;

/// <summary>Writes training graphs as files.</summary>
[Verb("artifacts", HelpText = "Writes the training graph of a model as a file: forward pass, loss and backward pass in standard ONNX "
    + "operators, for any build of ONNX Runtime, in any language. "
    + "training_model.onnx takes the model's inputs (sample, timestep, encoder_hidden_states; of transformers hidden_states, "
        + "pooled_projections, ...), the method's fields and the LoRA tensors by their names in adapter files, and gives loss, "
    + "metrics and NAME_grad for each LoRA tensor; its metadata says what each is. adapter.safetensors beside it has tensors to begin "
        + "with. The command lists the inputs.")]
[Example("denoising loss of rank-4 adapters, for batches of two",
    "artifacts --model my-model --method mse --lora-rank 4 --batch-size 2 --output artifacts/mse")]
[Example("policy gradients with guidance 7.5 on a wider clip range",
    "artifacts --model my-model --method ddpo --guidance-scale 7.5 --clip-range 0.001 --output artifacts/ddpo")]
[Example("preference pairs, the preferred rows first, at 512x768 pixels (64x96 cells)",
    "artifacts --model my-model --method dpo --batch-size 2 --height 64 --width 96 --output artifacts/dpo")]
[Example("the four artifacts of ONNX Runtime's own training API", "artifacts --method mse --format ort-training --output artifacts/ort")]
[Example("every weight of an unconditional model", "artifacts --model my-ddpm --method mse --all-weights --output artifacts/ddpm")]
internal sealed class ArtifactsCommand : ICommand, IRecordOptions
{
    private const string Method = "Method", Adapters = "Trained tensors", Sizes = "Sizes", Files = "Files";

    [Section(Files), Option('m', "model", MetaValue = "DIR", HelpText = "A pipeline's folder in diffusers' or Optimum's layout, or a "
        + "denoiser's own, U-Net or transformer (config.json and safetensors, or model.onnx). Default models/shapes, which ships.")]
    public string? Model { get; set; }

    [Section(Files), Option('o', "output", Required = true, MetaValue = "DIR", HelpText = "Folder to write.")]
    public string Output { get; set; } = "";

    [Section(Files), Option("format", MetaValue = "NAME", HelpText = "onnx: training_model.onnx for any ONNX Runtime. ort-training: "
        + "training_model.onnx, eval_model.onnx, optimizer_model.onnx (AdamW) and checkpoint for its training API, which sets the "
        + "learning rate. Default onnx.")]
    public string? Format { get; set; }

    [Section(Method), Option("method", MetaValue = "NAME", HelpText = "Name of a method of 'ortrlhf tune' that has a loss of its own, or "
        + "mse (denoising, as sft); see the list below. Default mse.")]
    public string? MethodName { get; set; }

    [Section(Method), Option("guidance-scale", MetaValue = "X", HelpText = "Classifier-free guidance of policy gradients, with the "
        + "gradient through both branches; 1 for none. Default 5, as DDPO; without text, and of FLUX, 1.")]
    public double? GuidanceScale { get; set; }

    [Section(Method), Option("clip-range", MetaValue = "X", HelpText = "Clip range of the ratio. Default 0.0001, of d3po 0.1.")]
    public double? ClipRange { get; set; }

    [Section(Method), Option("kl-weight", MetaValue = "X",
        HelpText = "Weight of the KL divergence to the model without adapters, for policy gradients. Default 0, of flow-grpo 0.04.")]
    public double? KlWeight { get; set; }

    [Section(Method), Option("beta", MetaValue = "X", HelpText = "beta of d3po, dpo, ipo and kto. Default 2000, of d3po 0.1.")]
    public double? Beta { get; set; }

    [Section(Files), Option("dtype", MetaValue = "NAME", HelpText = "fp32, or fp16: the weights lie in the file as halves, half its "
        + "size, and are made fp32 where they are used. Default fp32.")]
    public string? Dtype { get; set; }

    [Section(Adapters), Option("lora-rank", MetaValue = "N", HelpText = "Rank of the adapters. Default 4.")]
    public int? LoraRank { get; set; }

    [Section(Adapters), Option("lora-alpha", MetaValue = "X",
        HelpText = "Alpha; the adapters' output is multiplied by alpha/rank, a constant of the graph. Default the rank.")]
    public double? LoraAlpha { get; set; }

    [Section(Adapters), Option("lora-targets", MetaValue = "A,B", HelpText = "Layers to adapt, ends of module paths, * for any part; "
        + "'ortrlhf inspect' lists what they match. Default to_q,to_k,to_v,to_out.0.")]
    public IEnumerable<string> LoraTargets { get; set; } = [];

    [Section(Adapters), Option("all-weights", HelpText = "Train every weight of the model instead of adapters.")]
    public bool AllWeights { get; set; }

    [Section(Adapters), Option("seed", MetaValue = "N", HelpText = "Seed of the adapters' initial values. Default 0.")]
    public ulong? Seed { get; set; }

    [Section(Adapters), Option("weight-decay", MetaValue = "X", HelpText = "Weight decay of ort-training's AdamW. Default 0.0001.")]
    public double? WeightDecay { get; set; }

    [Section(Sizes), Option("batch-size", MetaValue = "N",
        HelpText = "Rows of sample; even for pairs. It is fixed in the file. Default 1, for pairs 2.")]
    public int? BatchSize { get; set; }

    [Section(Sizes), Option("height", MetaValue = "N",
        HelpText = "Height of sample in cells of the latent, an eighth of Stable Diffusion's pixels. Default the model's.")]
    public long? Height { get; set; }

    [Section(Sizes), Option("width", MetaValue = "N", HelpText = "Width of sample in cells. Default the model's.")]
    public long? Width { get; set; }

    [Section(Sizes), Option("text-tokens", MetaValue = "N", HelpText = "Tokens of encoder_hidden_states. Default open; of Stable "
        + "Diffusion 3 and FLUX their pipelines'; for an exported graph what its tokenizer or text encoder says, else 77.")]
    public long? TextTokens { get; set; }

    /// <inheritdoc/>
    public IEnumerable<(string Heading, IEnumerable<(string Name, string Text)> Entries)> HelpLists =>
        [("Losses", TuningMethods.TrainingFiles.Select(m => (m.Name, m.Formula)))];

    /// <inheritdoc/>
    public IEnumerable<CommandOption> OptionsOf(IReadOnlyList<string> arguments) => [];

    /// <inheritdoc/>
    public string? WhyNot(string option, IReadOnlyList<string> arguments) => null;

    /// <inheritdoc/>
    public int Run(CancellationToken cancellation)
    {
        var training = Format switch
        {
            null or "onnx" => false,
            "ort-training" => true,
            var other => throw new UsageError($"--format: expected onnx or ort-training, got '{other}'"),
        };
        if (!training && WeightDecay is not null) throw new UsageError(
            "--weight-decay: only ort-training has an optimizer; add --format ort-training");
        var options = ToOptions();
        OutputPlace.RequireFolder("output", Output);
        var model = TrainingDenoiser.Open(Model is not null && File.Exists(Model) ? Model : ModelFolder.Find(Model));
        TrainingFile file;
        if (training)
        {
            file = OrtTrainingArtifacts.Write(model, options,
                new AdamWOptions { WeightDecay = WeightDecay ?? new AdamWOptions().WeightDecay }, Output);
        }
        else
        {
            file = TrainingFile.Build(model, options);
            file.Write(Output, options);
        }
        foreach (var path in Directory.EnumerateFiles(Output)
            .Order(StringComparer.Ordinal)) Terminal.Line($"{path}  {new FileInfo(path).Length / 1e6:F1} MB");
        TrainingFileScreen.Show(file);
        return ExitCode.Done;
    }

    private TrainingFileOptions ToOptions()
    {
        try
        {
            return Checked(new() { Method = TuningMethods.TrainingFile(MethodName ?? "mse") });
        }
        catch (UserError fault)
        {
            throw new UsageError(fault.Message);
        }
    }

    private TrainingFileOptions Checked(TrainingFileOptions options)
    {
        var lora = new LoraOptions { Rank = LoraRank ?? 4, Alpha = LoraAlpha };
        options = options with
        {
            Lora = LoraTargets.Any() ? lora with { Targets = [.. LoraTargets] } : lora,
            BatchSize = BatchSize ?? (options.Method.IsPaired ? 2 : 1),
            AllWeights = AllWeights,
            GuidanceScale = GuidanceScale,
            ClipRange = ClipRange,
            KlWeight = KlWeight,
            Beta = Beta,
            Sizes = new DenoiserSizes(Height, Width, TextTokens),
            Seed = Seed ?? 0,
            Dtype = EnumName.Of<Precision>("dtype", Dtype) ?? Precision.Fp32,
        };
        options.Validate();
        options.Lora.Validate();
        return options;
    }
}
