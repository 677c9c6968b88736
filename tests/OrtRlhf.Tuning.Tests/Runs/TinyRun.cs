using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph;
using OrtRlhf.Rewards;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

/// <summary>Runs on <see cref="TinyModel"/>, made once.</summary>
internal static class TinyRun
{
    private static readonly Lazy<string> LazyModel = new(() =>
    {
        var folder = Directory.CreateTempSubdirectory("ortrlhf-tiny-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return TinyModel.Write(folder);
    });

    public static string Model => LazyModel.Value;

    public static TuningEnvironment Environment { get; } = new()
    {
        Rewards = RewardRegistry.Default.With(Reward("brightness", Brightness)).With(Reward("darkness", input => 1 - Brightness(input))),
    };

    public static SamplingOptions Sampling { get; } = new() { Steps = 4, GuidanceScale = 2, BatchSize = 8 };

    public static DdpoOptions Options(TempFolder folder, string output) => Options<DdpoOptions>(folder, output);

    public static T Options<T>(TempFolder folder, string output) where T : TuningOptions, new() =>
        (T)Options(Model, folder.At(output), new T());

    public static TuningOptions Options(TempFolder folder, string output, string method) =>
        Options(Model, folder.At(output), TuningMethods.Find(method)!.New());

    public static void StartOrResume(string model, string output)
    {
        if (File.Exists(new RunFolder(output).Options)) TuningRun.Resume(output, Environment);
        else TuningRun.Execute(Options(model, output, new DdpoOptions()) with { Epochs = 12 }, Environment);
    }

    /// <summary>The same with values of properties by name, where the method has such a property.</summary>
    public static TuningOptions With(this TuningOptions options, params (string Property, object Value)[] values)
    {
        var changed = options with { };
        foreach (var (name, value) in values) changed.GetType().GetProperty(name)?.SetValue(changed, value);
        return changed;
    }

    // Everything that has a state takes part: warm-up, moving average, statistics of prompts, several passes, steps left out.
    private static TuningOptions Options(string model, string output, TuningOptions defaults)
    {
        var prompts = Path.Combine(Path.GetDirectoryName(output)!, "prompts.txt");
        if (!File.Exists(prompts)) File.WriteAllText(prompts, "a cat\na dog\na {red|blue} hat\nno bird\nsome fish\n");
        return (defaults with
        {
            Model = model,
            Output = output,
            Reward = "2*brightness",
            Prompts = prompts,
            Epochs = 4,
            Seed = 7,
            Images = 8,
            PromptsPerEpoch = defaults is EsOptions ? 1 : defaults is PreferenceOptions ? 4 : 8,
            Sampling = Sampling,
            WarmupUpdates = 3,
            LearningRate = 0.01,
            LearningRateDecay = Learning.Optimizers.LearningRateDecay.Constant,
            Ema = 0.9,
            LoraRank = 2,
            EvaluationImages = 8,
            SampleImages = 2,
            SamplesEvery = 2,
            Session = new() { Threads = 1 },
        }).With(
            ("Population", 4), ("UpdatesPerPass", defaults is ReinforceOptions ? 1 : 2), ("Passes", defaults is DdpoOptions ? 2 : 1),
            ("TimestepFraction", 0.7), ("NoiseWindow", 0), ("MicroBatch", 4));
    }

    public static (string Metrics, byte[] Adapter) Result(string output) =>
        (File.ReadAllText(new RunFolder(output).Metrics),
            File.ReadAllBytes(Path.Combine(new RunFolder(output).Adapter, "adapter.onnx_adapter")));

    public static RewardEntry Reward(string name, Func<RewardInput, float> score) => new(name, name, () => new PerImageReward(name, score));

    public static UserError Fails(TuningOptions options, TuningEnvironment? environment = null)
    {
        var error = Assert.Throws<UserError>(() => TuningRun.Execute(options, environment ?? Environment));
        Assert.DoesNotContain('\n', error.Message);
        return error;
    }

    private static float Brightness(RewardInput input)
    {
        var sum = 0L;
        foreach (var value in input.Image.Pixels) sum += value;
        return sum / 255f / input.Image.Pixels.Length;
    }
}
