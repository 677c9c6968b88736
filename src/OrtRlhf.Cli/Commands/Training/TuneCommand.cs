using System.Globalization;
using System.Reflection;
using OrtRlhf.Cli.CommandLine;
using OrtRlhf.Cli.Screen;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Cli.Commands;

/// <summary>
/// Tunes a model from a reward. What a method can do is its own record of options; this class has what is not of any method.
/// </summary>
[Verb("tune", HelpText = "Tunes a model from a reward: LoRA adapters learn to raise the reward of what the model draws. "
    + "Writes a run folder with the adapter, a report (report.html), metrics and checkpoints; a stopped run resumes to the same numbers.")]
[Example("the model that ships: smaller files, and still what the prompt says", "tune")]
[Example("one reward alone; the report shows what it costs",
    "tune --reward jpeg-compressibility --epochs 20 --seed 1 --output artifacts/runs/small")]
[Example("your model and prompts, without gradients", "tune my-model --method es --reward prompt-alignment --prompts prompts.txt")]
[Example("rewards of your own: a CLIP folder, an aesthetic head, a service",
    "tune my-model --prompts prompts.txt --reward \"clip-score:my-clip+0.2*http://localhost:8000/score#timeout=20\"")]
[Example("a flow model, trained on few noisy steps, judged on more deterministic ones",
    "tune models/shapes-flow --method flow-grpo --reward prompt-alignment")]
[Example("the same without noise or log-probs", "tune models/shapes-flow --method nft --reward prompt-alignment")]
[Example("go on from an adapter, of yours or of others", "tune my-model --init-adapter style.safetensors --reward jpeg-compressibility")]
[Example("go on with a run that was stopped", "tune --resume artifacts/runs/small")]
internal sealed class TuneCommand : ModelCommand, IRecordOptions
{
    // What a person's choices take the place of.
    private static readonly string[] Drawn =
        [nameof(TuningOptions.Images), nameof(TuningOptions.PromptsPerEpoch), nameof(TuningOptions.SharedInitialNoise),
            nameof(PairOptions.Rater), nameof(PairOptions.Experts)];

    private readonly Dictionary<PropertyInfo, object> given = [];
    private string? methodName;

    [Option('o', "output", MetaValue = "DIR", HelpText = "Folder of the run. Default artifacts/runs/<date>-<method>-<n>.")]
    public string? Output { get; set; }

    [Option("resume", MetaValue = "RUN",
        HelpText = "Go on with a run from its last checkpoint, with the options it had; only --epochs may change.")]
    public string? Resume { get; set; }

    [Section("Prompts and images"), Option("group-size", MetaValue = "N",
        HelpText = "Images of a prompt in an epoch, a divisor of the images: the same as --prompts-per-epoch, said the other way.")]
    public int? GroupSize { get; set; }

    /// <inheritdoc/>
    public IEnumerable<(string Heading, IEnumerable<(string Name, string Text)> Entries)> HelpLists =>
        [("Methods", TuningMethods.All.Select(method => (method.Name, DocComments.Of(method.Options.GetType()))))];

    /// <inheritdoc/>
    public IEnumerable<CommandOption> OptionsOf(IReadOnlyList<string> arguments)
    {
        var method = Typed(arguments);
        var choice = new CommandOption("method", "NAME",
            "How to learn, see the list below; each has options of its own: 'ortrlhf tune --method NAME --help' shows them. Default ddpo.",
            "Options", typeof(string), (_, value) => methodName = (string)value)
        {
            Choices = TuningMethods.All.Select(entry => entry.Name),
        };
        return Properties(method).Select(property => RecordOptions.Of(property, method.Options, value => given[property] = value,
            property.Name == nameof(TuningOptions.LearningRate) ? Rates(method.Options) : "")).Prepend(choice);
    }

    /// <inheritdoc/>
    public string? WhyNot(string option, IReadOnlyList<string> arguments)
    {
        var method = Typed(arguments);
        string[] others = [.. TuningMethods.All.Where(other => Properties(other).Any(property => OptionNames.Of(property.Name) == option))
            .Select(other => other.Name)];
        if (others.Length == 0) return option == "nft-beta"
            ? $"option --nft-beta is --beta since 0.2, of --method nft{(method.Name == "nft" ? "" : $", not of {method.Name}")}" : null;
        return $"option --{option}: method {method.Name} has none; {string.Join(", ", others)} {(others.Length == 1 ? "has" : "have")} it";
    }

    /// <inheritdoc/>
    public override int Run(CancellationToken cancellation)
    {
        if (Resume is not null) return Continue(Resume, cancellation);
        if (Given(nameof(TuningOptions.InitAdapter)) && (Given(nameof(TuningOptions.LoraRank)) || Given(nameof(TuningOptions.LoraAlpha))
            || Given(nameof(TuningOptions.LoraTargets))))
            throw new UsageError(
                "tune: --init-adapter brings its layers and ranks; leave out --lora-rank, --lora-alpha and --lora-targets");
        if (Given(nameof(PreferenceOptions.Preferences)) && Drawn.FirstOrDefault(Given) is { } drawn)
            throw new UsageError($"tune: `{drawn}` is of candidates that are drawn each epoch; people's choices take their place: leave "
                + $"it out, or leave out --preferences");
        var options = ToOptions();
        if (options.Faults().ToArray() is { Length: > 0 } faults) throw new UsageError("tune: " + string.Join("; ", faults));
        OutputPlace.RequireFolder("output", options.Output);
        if (File.Exists(new RunFolder(options.Output).Options))
            throw new UsageError($"tune: --output {options.Output}: there is a run in this folder. Continue it with 'ortrlhf tune "
                + $"--resume {options.Output}', or give another folder.");
        return TuneScreen.Show(options.Output, environment => TuningRun.Execute(options, environment, cancellation));
    }

    private int Continue(string run, CancellationToken cancellation)
    {
        if (Others().FirstOrDefault() is { } other)
            throw new UsageError(
                $"tune: --resume takes the options of '{run}', from its options.json; leave out {other}, only --epochs may change");
        int? epochs = given.FirstOrDefault(entry => entry.Key.Name == nameof(TuningOptions.Epochs)).Value is int n ? n : null;
        if (epochs < 1) throw new UsageError($"tune: --epochs: expected at least 1, got {epochs}");
        return TuneScreen.Show(run, environment => TuningRun.Resume(run, environment, epochs, cancellation));
    }

    // What was given beside --resume and --epochs.
    private IEnumerable<string> Others() =>
        (from property in GetType().GetProperties()
         let option = property.GetCustomAttribute<OptionAttribute>()
         let name = option is null ? property.GetCustomAttribute<ValueAttribute>()?.MetaName : "--" + option.LongName
         where name is not (null or "--resume") && property.GetValue(this) is not (null or false)
         select name).Concat(methodName is null ? [] : ["--method"])
             .Concat(given.Keys.Where(key => key.Name != nameof(TuningOptions.Epochs)).Select(key => "--" + OptionNames.Of(key.Name)));

    private TuningOptions ToOptions()
    {
        var options = Find(methodName).New();
        var defaults = options;
        foreach (var (property, value) in given)
            if (property.Name is not (nameof(TuningOptions.Images) or nameof(TuningOptions.PromptsPerEpoch))) property.SetValue(
                options, value);
        var images = Value(nameof(TuningOptions.Images), defaults.Images);
        return options with
        {
            Model = Model ?? defaults.Model,
            Output = Output ?? NewFolder(options.Method),
            Images = images,
            PromptsPerEpoch = GroupSize is { } size ? PromptsOf(size, images)
                : Value(nameof(TuningOptions.PromptsPerEpoch), options.PromptsFor(images)),
            Sampling = ToTrainedSampling(Model, defaults.Sampling),
            ModelOptions = ToModel(defaults.ModelOptions),
            Session = ToSession(),
            InitAdapter = RunPlace.Adapter(options.InitAdapter),
        };
    }

    private int PromptsOf(int size, int images)
    {
        if (Given(nameof(TuningOptions.PromptsPerEpoch))) throw new UsageError(
            "tune: --group-size and --prompts-per-epoch say the same; leave one out");
        return size >= 1 && images % size == 0 ? images / size
            : throw new UsageError($"tune: --group-size: expected a divisor of {images}, the images, got {size}");
    }

    private bool Given(string property) => given.Keys.Any(key => key.Name == property);

    private int Value(string property, int otherwise) =>
        given.FirstOrDefault(entry => entry.Key.Name == property).Value is int value ? value : otherwise;

    // The model and the folder are arguments of the command; how images are sampled and on what stands with all commands that run a model.
    private static IEnumerable<PropertyInfo> Properties(TuningMethod method) =>
        RecordOptions.Properties(method.Options.GetType()).Where(property =>
            property.Name is not (nameof(TuningOptions.Model) or nameof(TuningOptions.Output)));

    private static TuningMethod Typed(IReadOnlyList<string> arguments)
    {
        var name = arguments.Zip(arguments.Skip(1)).FirstOrDefault(pair => pair.First == "--method").Second
            ?? arguments.FirstOrDefault(argument => argument.StartsWith("--method=", StringComparison.Ordinal))?["--method=".Length..];
        return Find(name is null || name.StartsWith('-') ? null : name);
    }

    private static TuningMethod Find(string? name)
    {
        if (name is null) return TuningMethods.All[0];
        string[] names = [.. TuningMethods.All.Select(method => method.Name)];
        return TuningMethods.Find(name.ToLowerInvariant()) ?? throw new UsageError(
            $"--method: expected {string.Join(", ", names.SkipLast(1))} or {names[^1]}, got "
                + $"'{name}'{(Spelling.Closest(name, names) is { } near ? $", did you mean '{near}'?" : "")}");
    }

    private static string Rates(TuningOptions options)
    {
        var (diffusion, flow) = (options.DefaultLearningRate(flow: false), options.DefaultLearningRate(flow: true));
        return string.Create(CultureInfo.InvariantCulture, $"That is {diffusion}{(flow == diffusion ? "" : $", of flows {flow}")}.");
    }

    private static string NewFolder(string method)
    {
        var name = $"{DateTime.Now.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)}-{method}";
        return Enumerable.Range(1, int.MaxValue).Select(n => Path.Combine("artifacts", "runs", $"{name}-{n}")).First(path =>
            !Directory.Exists(path));
    }
}
