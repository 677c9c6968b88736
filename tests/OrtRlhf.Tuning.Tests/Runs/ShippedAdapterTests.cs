using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;

namespace OrtRlhf.Tuning.Tests.Runs;

public sealed class ShippedAdapterTests
{
    [Theory]
    [InlineData(null)]
    [InlineData(6.0)]
    public void Adapter_InOnnxRuntimeAlone_GivesTheSamplersOutput(double? alpha)
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with { Epochs = 2, Ema = 0, LoraAlpha = alpha };
        TuningRun.Execute(options, TinyRun.Environment);
        var model = ImageModel.Open(TinyRun.Model);
        var exported = model.Denoiser("batch");
        InjectLora.Apply(exported, new LoraOptions { AnyRank = true });
        var path = folder.At("unet.onnx");
        File.WriteAllBytes(path, OnnxFile.ToBytes(exported));

        const int count = 3;
        var (x, m) = (new float[count * model.Latent.Count], new float[count * model.Latent.Count]);
        new Philox(5, 0, 0, 0).FillGaussian(x);
        long[] timesteps = [900, 500, 10];
        string[] prompts = ["a cat", "a red hat", ""];
        using var text = new TextEmbeddings(model, options.Session);
        using var policy = Policy.Create(model, new LoraOptions
        {
            Targets = options.LoraTargets ?? LoraOptions.AttentionTargets,
            Rank = options.LoraRank,
            Alpha = alpha
        }, options.Seed);
        // The last checkpoint has what was trained; adapter files have alpha/r in B.
        var trained = SafetensorsFile.Open(Directory.GetFiles(new RunFolder(options.Output).Checkpoints, "adapter.safetensors",
            SearchOption.AllDirectories).Order(StringComparer.Ordinal).Last());
        policy.Adapters.Load((name, _) => trained[name]);
        using var denoiser = new GuidedDenoiser(policy.Denoiser("batch").Graph, policy.Adapters, model.Latent, text, 1, options.Session);
        denoiser.Run(x, [.. timesteps], prompts, m);

        // From here on nothing but ONNX Runtime.
        using var session = new InferenceSession(path);
        using var adapter = OrtLoraAdapter.Create(Path.Combine(new RunFolder(options.Output).Adapter, "adapter.onnx_adapter"), null);
        using var run = new RunOptions();
        run.AddActiveLoraAdapter(adapter);
        var states = prompts.SelectMany(prompt => text[prompt]).ToArray();
        using var sample = OrtValue.CreateTensorValueFromMemory(x, [count, model.Latent.Channels, model.Latent.Height, model.Latent.Width]);
        using var timestep = OrtValue.CreateTensorValueFromMemory(timesteps, [count]);
        using var hidden = OrtValue.CreateTensorValueFromMemory(states, [count, text.Length, text.Width]);
        var inputs = new Dictionary<string, OrtValue> { ["sample"] = sample, ["timestep"] = timestep, ["encoder_hidden_states"] = hidden };
        using var tuned = session.Run(run, inputs, ["out_sample"]);
        using var plainRun = new RunOptions();
        using var plain = session.Run(plainRun, inputs, ["out_sample"]);
        Assert.InRange(Distance(tuned[0], m), 0, 1e-5);
        Assert.InRange(Distance(plain[0], m), 1e-3, double.PositiveInfinity);
    }

    private static double Distance(OrtValue value, float[] expected) =>
        value.GetTensorDataAsSpan<float>().ToArray().Zip(expected, (a, b) => Math.Abs(a - b)).Max() / expected.Max(Math.Abs);
}
