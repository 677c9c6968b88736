using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Learning;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Tests;
using OrtRlhf.Tuning.Methods;
using OrtRlhf.Tuning.Metrics;
using OrtRlhf.Tuning.Runs;
using OrtRlhf.Tuning.Tests.Runs;

namespace OrtRlhf.Tuning.Tests.Models;

/// <summary>Pipelines of flows. The transformers themselves are held to diffusers' numbers in OrtRlhf.Models.Tests.</summary>
public class FlowPipelineTests
{
    private static readonly SessionSettings OneThread = new() { Threads = 1 };
    private static readonly SampleRequest[] Requests = [new("a cat", 7, 0, 0), new("a dog", 8, 0, 0), new("a cat", 9, 0, 0)];

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void StableDiffusion3_Text_IsClipsSideBySideWidenedAndT5OrZerosBehind(bool t5)
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteSD3(folder.At("sd3"), t5), new() { MaxSequenceLength = 7 });
        using var text = new TextEmbeddings(model, OneThread);
        var behind = t5 ? 7 : TinyModel.Tokens;
        Assert.Equal(["encoder_hidden_states", "pooled_projections"], text.Fields.Select(f => f.Input));
        Assert.Equal((TinyModel.Tokens + behind, 48), (text.Length, text.Width));
        var fields = text.Of("a dog");
        var (first, second) = (Clip("text_encoder", 0), Clip("text_encoder_2", 1));
        var (a, b) = (first["hidden_states.2"], second["hidden_states.2"]);
        var clips = Enumerable.Range(0, TinyModel.Tokens).SelectMany(s =>
            a[(s * 16)..((s + 1) * 16)].Concat(b[(s * 24)..((s + 1) * 24)]).Concat(new float[8])).ToArray();
        Numbers.Close(clips, fields[0].AsSpan(0, clips.Length), 1e-5);
        Numbers.Close([.. first["text_embeds"], .. second["text_embeds"]], fields[1], 1e-5);
        var rest = fields[0].AsSpan(clips.Length);
        if (!t5) Assert.Equal(-1, rest.IndexOfAnyExcept(0f));
        else
        {
            var component = ComponentFolder.Open(folder.At("sd3", "text_encoder_3"), "text_encoder_3");
            using var session = new GraphSession(T5EncoderModel.Build(T5Config.Parse(component.Config), component.Weights()), OneThread);
            using var ids = UnigramTokenizer.Open(folder.At("sd3", "tokenizer_3")).Encode("a dog", 7).ToOrt(1, 7);
            Numbers.Close(session.Run(("input_ids", ids))["last_hidden_state"], rest, 1e-5);
        }
        Assert.Equal(text.Of(""), text.Without);

        Dictionary<string, float[]> Clip(string name, int tokenizer)
        {
            var component = ComponentFolder.Open(folder.At("sd3", name), name);
            using var session = new GraphSession(ClipTextModel.Build(ClipTextConfig.Parse(component.Config), component.Weights(),
                projection: true, hiddenStates: true), OneThread);
            using var ids = model.TextEncoders[tokenizer].Tokenize("a dog").ToOrt(1, TinyModel.Tokens);
            return session.Run(("input_ids", ids));
        }
    }

    [Fact]
    public void Flux_TakesPackedLatentsPlacesAndGuidance()
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteFlux(folder.At("flux")), new() { ImageSize = new(16, 12), MaxSequenceLength = 5 });
        Assert.Equal((new LatentSize(4, 8, 6), FlowSpacing.Even, true, "transformer."),
            (model.Latent, model.FlowSpacing, model.TakesGuidance, model.AdapterPrefix));
        using var text = new TextEmbeddings(model, OneThread, guidance: 3.5);
        Assert.Equal(["encoder_hidden_states", "pooled_projections", "guidance"], text.Fields.Select(f => f.Input));
        Assert.Equal((5, 20), (text.Length, text.Width));
        using var denoiser = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, text, 1, OneThread);
        float[] x = new float[2 * model.Latent.Count], m = new float[x.Length];
        new Philox(1, 0, 0, 0).FillGaussian(x);
        denoiser.Run(x, [730.5, 20.25], ["a cat", "a dog"], m);

        var component = ComponentFolder.Open(folder.At("flux", "transformer"), "transformer");
        using var session =
            new GraphSession(FluxTransformer2DModel.Build(FluxTransformer2DConfig.Parse(component.Config), component.Weights()), OneThread);
        var (cat, dog) = (text.Of("a cat"), text.Of("a dog"));
        using var hidden = Packed(x).ToOrt(2, 12, 16);
        using var time = new[] { 0.7305f, 0.02025f }.ToOrt(2);
        using var states = new[] { cat[0], dog[0] }.SelectMany(v => v).ToArray().ToOrt(2, 5, 20);
        using var pooled = new[] { cat[1], dog[1] }.SelectMany(v => v).ToArray().ToOrt(2, 16);
        using var places = Enumerable.Range(0, 12).SelectMany(i => new[] { 0f, i / 3, i % 3 }).ToArray().ToOrt(12, 3);
        using var none = new float[15].ToOrt(5, 3);
        using var guidance = new[] { 3.5f, 3.5f }.ToOrt(2);
        var expected = session.Run(("hidden_states", hidden), ("timestep", time), ("encoder_hidden_states", states),
            ("pooled_projections", pooled), ("img_ids", places), ("txt_ids", none), ("guidance", guidance))["out_hidden_states"];
        Numbers.Close(expected, Packed(m), 1e-4);

        // [C,H,W] to [H/2*W/2, C*4], as diffusers' pipeline packs.
        float[] Packed(float[] latents) => [.. from b in Enumerable.Range(0, 2) from row in Enumerable.Range(0,
            4) from column in Enumerable.Range(0, 3) from c in Enumerable.Range(0, 4)
            from dy in Enumerable.Range(0, 2) from dx in Enumerable.Range(0,
                2) select latents[(((b * 4) + c) * 48) + (((2 * row) + dy) * 6) + (2 * column) + dx]];
    }

    [Theory]
    [InlineData(SamplerKind.Auto)]
    [InlineData(SamplerKind.AdamsBashforth)]
    [InlineData(SamplerKind.FlowGrpo)]
    public void Sample_TakesTheFlowsSteps_AnyBatchSize(SamplerKind sampler)
    {
        using var folder = new TempFolder();
        var model = ImageModel.Open(TinyModel.WriteSD3(folder.At("sd3")), new() { MaxSequenceLength = 7 });
        using var policy = Policy.OfBase(model);
        using var pipeline = new Pipeline(policy, new() { Sampler = sampler, Steps = 4, BatchSize = 2 }, OneThread);
        var sampled = pipeline.Sample(Requests);
        var path = sampled[0].Trajectory;
        using var denoiser = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, pipeline.Text, 3, OneThread);
        float[] x = new float[model.Latent.Count], m = new float[x.Length], before = new float[x.Length], z = new float[x.Length];
        new Philox(7, 0, 0, RandomStep.InitialLatent).FillGaussian(x);
        var times = pipeline.Steps.Times.ToArray();
        Assert.Equal(1000, times[0]);
        for (var s = 0; s < 4; s++)
        {
            Numbers.Close(x, path.Latent(s).Span, 1e-4);
            denoiser.Run(x, [times[s]], ["a cat"], m);
            if (pipeline.Steps.Table is { } table)
            {
                if (table.Steps[s].HasDensity) new Philox(7, 0, 0, (uint)s).FillGaussian(z);
                GaussianLogProb.Advance(x, m, table.Steps[s].HasDensity ? z : new float[z.Length], table.Steps[s], x);
            }
            else pipeline.Steps.Solver!.Step(s, x, m, before);
        }
        Numbers.Close(x, path.Latent(4).Span, 1e-4);
        // z/scaling + shift is what the decoder gets; the result alone is the same.
        Assert.Equal(path.Latent(4).ToArray(), pipeline.Sample(Requests, keepSteps: false)[0].Trajectory.Latents);
        Assert.Equal(sampler == SamplerKind.FlowGrpo, pipeline.Kl([path]) == 0);
    }

    [Fact]
    public void Sample_SharedInitialNoise_DiffersByTheStepsAlone()
    {
        using var folder = new TempFolder();
        using var policy = Policy.OfBase(ImageModel.Open(TinyModel.WriteSD3(folder.At("sd3"), t5: false)));
        using var pipeline = new Pipeline(policy, new() { Sampler = SamplerKind.FlowGrpo, Steps = 3 }, OneThread);
        var pair = pipeline.Sample([new("a cat", 1, 0, 4), new("a cat", 1, 0, 5, InitialNoise: 4)]);
        Assert.Equal(pair[0].Trajectory.Latent(0).ToArray(), pair[1].Trajectory.Latent(0).ToArray());
        Assert.NotEqual(pair[0].Trajectory.Latent(1).ToArray(), pair[1].Trajectory.Latent(1).ToArray());
        var window = pipeline.With(pipeline.Options with { Steps = 5, NoiseWindow = new(1, 2) });
        Assert.Equal([1, 2], window.Table.RequireDensity());
    }

    [Theory]
    [InlineData("sd3", SamplerKind.FlowGrpo)]
    [InlineData("sd3", SamplerKind.Cps)]
    [InlineData("flux", SamplerKind.DanceGrpo)]
    [InlineData("unet", SamplerKind.NoisyEuler)]
    public void Tune_RatioOneOnFreshSamples_AdapterIsSampledAndMerged(string kind, SamplerKind sampler)
    {
        using var folder = new TempFolder();
        var options = TinyRun.Options(folder, "run") with
        {
            Model = kind switch
            {
                "sd3" => TinyModel.WriteSD3(folder.At("m")),
                "flux" => TinyModel.WriteFlux(folder.At("m")),
                _ =>
                TinyModel.WriteFlowUNet(folder.At("m"))
            },
            ModelOptions = new() { MaxSequenceLength = 7, ImageSize = new(16, 16) },
            Epochs = 2,
            Sampling = new() { Sampler = sampler, Steps = 4, GuidanceScale = 2, BatchSize = 8 },
            EvaluationSteps = 3,
        };
        var summary = TuningRun.Execute(options, TinyRun.Environment);
        Assert.InRange(summary.Ratio!.FirstMaxDeviation, 0, 1e-4);
        Assert.True(summary.Kl > 0);
        var run = new RunFolder(options.Output);
        Assert.Equal((SamplerKind.Euler, 3), (TuningMethods.ReadOptions(run.Options).EvaluationSampling.Sampler,
            TuningMethods.ReadOptions(run.Options).EvaluationSampling.Steps));

        var file = AdapterFile.Open(Path.Combine(run.Adapter, "adapter.safetensors"));
        Assert.Equal(kind == "unet" ? "unet" : "transformer", file.Layers[0].Component);
        var model = ImageModel.Open(options.Model, options.ModelOptions);
        using var policy = Policy.WithAdapter(model, file);
        using var pipeline = new Pipeline(policy, new() { Steps = 3 }, OneThread);
        var tuned = pipeline.Sample(Requests[..1])[0].Trajectory.Latents;
        var bare = Array.Empty<float>();
        policy.AsBase(() => bare = pipeline.Sample(Requests[..1])[0].Trajectory.Latents);
        Assert.NotEqual(bare, tuned);
        MergedModel.Write(model, file, folder.At("merged"));
        using var merged = Policy.OfBase(ImageModel.Open(folder.At("merged"), options.ModelOptions));
        using var same = new Pipeline(merged, new() { Steps = 3 }, OneThread);
        Numbers.Close(tuned, same.Sample(Requests[..1])[0].Trajectory.Latents, 1e-3);
    }

    [Theory]
    [InlineData("sd3")]
    [InlineData("flux")]
    [InlineData("unet")]
    public void Import_InOptimumsLayout_DrawsAndTrainsTheSame(string kind)
    {
        using var folder = new TempFolder();
        var options = new ModelOptions { MaxSequenceLength = 7, ImageSize = new(16, 16) };
        var source = kind switch
        {
            "sd3" => TinyModel.WriteSD3(folder.At("m")),
            "flux" => TinyModel.WriteFlux(folder.At("m")),
            _ =>
            TinyModel.WriteFlowUNet(folder.At("m"))
        };
        CheckpointImport.Write(ImportPlan.Make(source, new ImportOptions()), folder.At("onnx"));
        var (model, exported) = (ImageModel.Open(source, options), ImageModel.Open(folder.At("onnx"), options));
        Numbers.Close(Draw(model), Draw(exported), 1e-4);
        using var policy = Policy.Create(exported, new LoraOptions { Rank = 2 }, 1);
        Assert.All(policy.Denoiser(2).Graph.Nodes, n => Assert.True(n.Output.Shape is { IsStatic: true }, $"{n} is not static"));

        static float[] Draw(ImageModel model)
        {
            using var policy = Policy.OfBase(model);
            using var pipeline = new Pipeline(policy, new SamplingOptions { Steps = 3 }, OneThread);
            return pipeline.Sample(Requests[..1])[0].Trajectory.Latents;
        }
    }

    [Theory]
    [InlineData("transformer", "\"joint_attention_dim\":48", "\"joint_attention_dim\":40",
        "text states of width 40, but text_encoder_3 has d_model 48")]
    [InlineData("transformer", "\"pooled_projection_dim\":14", "\"pooled_projection_dim\":12",
        "pooled text of width 12, but text_encoder and text_encoder_2 give 14")]
    [InlineData("text_encoder", "CLIPTextModelWithProjection", "CLIPTextModel", "text_encoder: CLIPTextModelWithProjection is supported")]
    public void Open_PartsThatDoNotFit_Throws(string name, string from, string to, string message)
    {
        using var folder = new TempFolder();
        var path = Path.Combine(TinyModel.WriteSD3(folder.At("sd3")), name, "config.json");
        File.WriteAllText(path, File.ReadAllText(path).Replace(from, to));
        Assert.Contains(message, Assert.Throws<UserError>(() => ImageModel.Open(folder.At("sd3"))).Message);
    }

    [Fact]
    public void Sampler_OfTheOtherKind_Throws()
    {
        using var folder = new TempFolder();
        using var flow = Policy.OfBase(ImageModel.Open(TinyModel.WriteFlowUNet(folder.At("flow"))));
        using var diffusion = Policy.OfBase(ImageModel.Open(TinyRun.Model));
        Assert.Contains("is a flow; expected flow-grpo",
            Assert.Throws<UserError>(() => new Pipeline(flow, new() { Sampler = SamplerKind.Ddpm }, OneThread)).Message);
        Assert.Contains("is a diffusion model; expected ddim",
            Assert.Throws<UserError>(() => new Pipeline(diffusion, new() { Sampler = SamplerKind.FlowGrpo }, OneThread)).Message);
    }
}
