using OrtRlhf.Diffusion.Adapters;
using OrtRlhf.Diffusion.Models;
using OrtRlhf.Diffusion.Sampling;
using OrtRlhf.Diffusion.Sessions;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Sampling;

/// <summary>
/// A whole Stable Diffusion 1 pipeline, from prompt to image, and Stable Diffusion 3's from text states on, against diffusers.
/// </summary>
public class GoldenPipelineTests
{
    private const string Set = "sd1-tiny";

    [Fact, NeedsGolden("sd3-tiny")]
    public void StableDiffusion3_SixGuidedEulerSteps_MatchReference()
    {
        var folder = GoldenFile.Beside("sd3-tiny")!;
        var golden = SafetensorsFile.Open(Path.Combine(folder, "golden.safetensors"));
        var settings = new SessionSettings { Threads = 1 };
        var states = new TextEncoder("text_encoder", prompt =>
            new long[11].Select(_ => prompt.Length == 0 ? 0L : 1).ToArray(), Given, "states", "pooled");
        var denoiser = DenoiserFolder.Open(ComponentFolder.Open(Path.Combine(folder, "transformer"), "transformer"),
            [new(states, 11, 40, 24)], isFlow: true, pixelsPerCell: 1, new() { ImageSize = new(16, 16) });
        var model = new ImageModel
        {
            Name = "sd3-tiny",
            Folder = folder,
            Flow = new FlowSchedule(FlowSchedulerConfigJson.Read(Path.Combine(folder, "scheduler", "scheduler_config.json"))),
            Latent = denoiser.Latent,
            TextEncoders = [states],
            PooledInput = denoiser.PooledInput,
            Denoiser = denoiser.Graph,
            Decoder = null,
        };
        using var text = new TextEmbeddings(model, settings);
        using var guided = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, text, 4.5, settings);
        var latents = golden["euler.latents"].ToFloats();
        var table = SamplerSteps.Of(model, new() { Sampler = SamplerKind.Euler, Steps = 6 }).Table!;
        var length = model.Latent.Count;
        float[] x = latents[..length], m = new float[length], noise = new float[length];
        for (var s = 0; s < 6; s++)
        {
            guided.Run(x, [table.Steps[s].Time], ["a cat"], m);
            GaussianLogProb.Advance(x, m, noise, table.Steps[s], x);
            Numbers.Close(latents.AsSpan((s + 1) * length, length), x, 1e-4);
        }

        // The first row is what stands for no prompt.
        OnnxGraph Given(Dim batch)
        {
            var graph = new OnnxGraph("text_encoder");
            var row = graph.Input("input_ids", ElementType.Int64, batch, 11).Slice(1, 0, 1).Reshape(-1);
            foreach (var (name, part) in (ReadOnlySpan<(string, string)>)[("states", "encoder_hidden_states"),
                ("pooled", "pooled_projections")])
            {
                var (none, some) = (golden["transformer.uncond_" + part], golden["transformer." + part].ToFloats());
                graph.Output(graph.Constant(Tensor.Of([.. none.ToFloats(), .. some[..(int)none.Count]], [2, .. none.Dims[1..]]))
                    .Gather(row), name);
            }
            return graph;
        }
    }

    [Fact]
    public void StableDiffusion1_EightDdimSteps_MatchReference()
    {
        var folder = GoldenFile.At(Set);
        var golden = SafetensorsFile.Open(Path.Combine(folder, "golden.safetensors"));
        var model = ImageModel.Open(folder);
        var settings = new SessionSettings { Threads = 1 };
        using var text = new TextEmbeddings(model, settings);
        using var denoiser = new GuidedDenoiser(model.Denoiser("batch"), null, model.Latent, text, 5, settings);
        using var decoder = new LatentDecoder(model, settings);
        var prompt = Prompt(folder);
        var (states, uncond) = (golden["text.last_hidden_state"].ToFloats(), golden["text.uncond_last_hidden_state"].ToFloats());
        Numbers.Close(states.AsSpan(0, uncond.Length), text[prompt], 1e-4);
        Numbers.Close(uncond, text[""], 1e-4);

        var latents = golden["ddim_eta0.latents"].ToFloats();
        var guided = golden["ddim_eta0.guided_output"].ToFloats();
        var table = DdimTable.Build(model.Scheduler!, 8, 0);
        Assert.Equal(golden["ddim_eta0.timesteps"].ToInt64s(), table.Steps.Select(s => (long)s.Timestep));
        var length = model.Latent.Count;
        float[] x = latents[..length], m = new float[length], noise = new float[length];
        for (var s = 0; s < 8; s++)
        {
            denoiser.Run(x, [table.Steps[s].Timestep], [prompt], m);
            Numbers.Close(guided.AsSpan(s * length, length), m, 1e-3);
            GaussianLogProb.Advance(x, m, noise, table.Steps[s], x);
            Numbers.Close(latents.AsSpan((s + 1) * length, length), x, 1e-3);
        }
        var image = decoder.Decode([x])[0];
        var expected = golden["ddim_eta0.image"].ToFloats();
        var area = image.Width * image.Height;
        Assert.Equal(expected.Length, 3 * area);
        for (var i = 0; i < area; i++)
            for (var c = 0; c < 3; c++)
                Assert.True(Math.Abs((expected[(c * area) + i] * 255) - image.Pixels[(3 * i) + c]) < 1.5, $"pixel {i}, channel {c}");
    }

    [Fact]
    public void StableDiffusion1_PublishedAdapter_MatchesReference()
    {
        var folder = GoldenFile.At(Set);
        var golden = SafetensorsFile.Open(Path.Combine(folder, "lora_golden.safetensors"));
        var model = ImageModel.Open(folder);
        using var policy = Policy.WithAdapter(model, AdapterFile.Open(Path.Combine(folder, "lora.safetensors")));
        using var session = new GraphSession(policy.Denoiser(2).Graph, new SessionSettings { Threads = 1 }).Bind(policy.Adapters);
        using var x = golden["forward.sample"].ToFloats().ToOrt(golden["forward.sample"].Dims);
        using var t = golden["forward.timestep"].ToInt64s().ToOrt(2);
        using var c = golden["forward.encoder_hidden_states"].ToFloats().ToOrt(golden["forward.encoder_hidden_states"].Dims);
        var output = session.Run(("sample", x), ("timestep", t), ("encoder_hidden_states", c))["out_sample"];
        Numbers.Close(golden["forward.output_lora"].ToFloats(), output, 1e-4);
    }

    private static string Prompt(string folder)
    {
        using var json = System.Text.Json.JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "golden.json")));
        return json.RootElement.GetProperty("prompts")[0].GetProperty("text").GetString()!;
    }
}
