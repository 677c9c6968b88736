using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Epochs;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Models;

/// <summary>Pipelines without text that denoise pixels: UNet2DModel and scheduler.</summary>
public class UnconditionalTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };

    [Fact, NeedsGolden("ddpm-tiny")]
    public void Ddpm_EightSteps_MatchReference()
    {
        var folder = GoldenFile.Beside("ddpm-tiny")!;
        var golden = SafetensorsFile.Open(Path.Combine(folder, "golden.safetensors"));
        var model = ImageModel.Open(folder);
        Assert.Equal((false, new LatentSize(3, 16, 16)), (model.IsConditional, model.Latent));
        using var text = new TextEmbeddings(model, OneThread);
        using var denoiser = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, text, 1, OneThread);
        var table = DdpmTable.Build(model.Scheduler!, 8);
        Assert.Equal(golden["ddpm.timesteps"].ToInt64s(), table.Steps.Select(s => (long)s.Timestep));
        var (latents, noise, length) = (golden["ddpm.latents"].ToFloats(), golden["ddpm.noise"].ToFloats(), model.Latent.Count);
        float[] x = latents[..length], m = new float[length];
        for (var s = 0; s < 8; s++)
        {
            denoiser.Run(x, [table.Steps[s].Timestep], [""], m);
            GaussianLogProb.AdvanceClipped(x, m, noise.AsSpan(s * length, length), table.Steps[s], table.Clips![s], x);
            Numbers.Close(latents.AsSpan((s + 1) * length, length), x, 1e-3);
        }
        using var decoder = new LatentDecoder(model, OneThread);
        var image = decoder.Decode([x])[0];
        Assert.Equal((16, 16), (image.Width, image.Height));
        Assert.Equal(Math.Clamp((x[0] / 2) + 0.5, 0, 1) * 255, image.Pixels[0], 0.51);
    }

    [Theory]
    [InlineData(SamplerKind.Ddim)]
    [InlineData(SamplerKind.Ddpm)]
    public void Tune_RunsEndToEnd_WithoutPrompts(SamplerKind sampler)
    {
        using var folder = new TempFolder();
        var options = Options(folder) with { Epochs = 2, Sampling = new() { Sampler = sampler, Steps = 4, BatchSize = 8 } };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, 1e-4);
        Assert.Equal(["brightness", "darkness", "jpeg-compressibility"], summary.Rewards.Keys.Order());
        Assert.True(summary.Kl > 0);
        // The means of a policy gradient are linear: what the run resolves to, evaluation takes, too.
        Assert.False(TuningMethods.ReadOptions(new RunFolder(options.Output).Options).Sampling.ClipSample);
        Assert.Equal(3, TuningRun.Resume(options.Output, TinyRun.Environment, epochs: 3).Images / options.Images);
    }

    [Fact]
    public void Tune_EvolutionStrategies_KeepsTheSchedulersClipping()
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options<EsOptions>(folder, "run") with
        {
            Model = TinyModel.WriteUnconditional(folder.At("model")),
            Prompts = null,
            Epochs = 1,
            Watch = []
        };
        TuningRun.Execute(options, TinyRun.Environment);
        Assert.Null(TuningMethods.ReadOptions(new RunFolder(options.Output).Options).Sampling.ClipSample);
    }

    [Fact]
    public void Tune_PromptsOrRewardsOfPrompts_Throws()
    {
        using var folder = new TempFolder();
        var options = Options(folder);
        Assert.Contains("draws without prompts; leave them out",
            TinyRun.Fails(TinyRun.Options(folder, "other") with { Model = options.Model }).Message);
        Assert.Contains("the model draws without prompts. Choose another reward",
            TinyRun.Fails(options with { Reward = "prompt-alignment" }).Message);
        Assert.Contains("`ClipSkip`: the model has no text encoder",
            TinyRun.Fails(options with { ModelOptions = new() { ClipSkip = 1 } }).Message);
        Assert.Contains("`ClipSample`", TinyRun.Fails(options with { Sampling = options.Sampling with { ClipSample = true } }).Message);
    }

    [Fact]
    public void Export_InOptimumsLayout_DrawsTheSame()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteUnconditional(folder.At("model")));
        Numbers.Close(Draw(model), Draw(ImageModel.Open(TinyModel.Export(TinyModel.WriteUnconditional(folder.At("onnx"))))), 1e-4);

        static float[] Draw(ImageModel model)
        {
            using var policy = Policy.OfBase(model);
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 3 }, OneThread);
            Assert.Equal(1, pipeline.GuidanceScale);
            return pipeline.Sample([new SampleRequest("", 1, 0, 0)])[0].Trajectory.Latents;
        }
    }

    [Fact]
    public void Open_FourChannelsWithoutAnAutoencoder_Throws()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(TinyModel.WriteUnconditional(folder.At("model")), "unet", "config.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace("\"sample_size\"", "\"in_channels\":4,\"out_channels\":4,\"sample_size\""));
        Assert.Contains("has 4 channels and no vae", Assert.Throws<UserError>(() => ImageModel.Open(folder.At("model"))).Message);
    }

    private static TuningOptions Options(TempFolder folder) =>
        TinyRun.Options(folder, "run") with { Model = TinyModel.WriteUnconditional(folder.At("model")), Prompts = null };
}
