using Microsoft.ML.OnnxRuntime;
using OrtRlhf.Diffusion.Shipping;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;
using OrtRlhf.Tests;

namespace OrtRlhf.Diffusion.Tests.Shipping;

/// <summary>
/// The files that an import writes, in stock ONNX Runtime, against the reference: single precision to 1e-4, half precision to 1e-2.
/// </summary>
public class ImportedGoldenTests
{
    [Fact]
    public void StableDiffusion1_WholePipeline() => Each("sd1-tiny", model =>
    {
        var golden = Golden.Tensors("sd1-tiny/golden.safetensors");
        UNet(model, golden);
        var context = golden["text.last_hidden_state"];
        var third = new Tensor(context.Type, [1, context.Dims[1], context.Dims[2]], context.Bytes()[(int)(context.ByteLength / 3 * 2)..]);
        model.Gives("unet", [("sample", golden["unet.alt.sample"]), ("timestep", Tensor.Vector(481)), ("encoder_hidden_states", third)],
            ("out_sample", golden["unet.alt.output"]));
        model.Gives("text_encoder", [("input_ids", golden["text.input_ids"])], ("last_hidden_state", golden["text.last_hidden_state"]),
            ("pooler_output", golden["text.pooler_output"]));
        Autoencoder(model, golden, golden["vae.latent"]);
        foreach (var file in (string[])["model_index.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt",
            "tokenizer/vocab.json", "unet/config.json", "vae_decoder/config.json"])
            Assert.True(File.Exists(Path.Combine(model.Folder, file)), file);
    });

    [Fact]
    public void FormerAttentionNames() => Each("sd1-tiny/vae_legacy_names", model =>
    {
        var golden = Golden.Tensors("sd1-tiny/golden.safetensors");
        Autoencoder(model, golden, golden["vae.latent"]);
    });

    [Fact, NeedsGolden("sd3-tiny/vae")]
    public void AutoencoderWithoutQuantConvolutions() => Each("sd3-tiny/vae", model =>
    {
        var golden = Golden.Tensors("sd3-tiny/golden.safetensors");
        Autoencoder(model, golden,
            Tensor.Of([.. golden["vae.latent"].ToFloats().Select(v => (float)((v / 1.5305) + 0.0609))], golden["vae.latent"].Dims));
    });

    [Fact, NeedsGolden("sd2-tiny/unet/diffusion_pytorch_model.safetensors")]
    public void StableDiffusion2_FolderOfComponents() => Each(Path.Combine(Golden.At("sd2-tiny/unet"), ".."), model =>
    {
        UNet(model, Golden.Tensors("sd2-tiny/golden.safetensors"));
        Assert.True(File.Exists(Path.Combine(model.Folder, "scheduler", "scheduler_config.json")));
    });

    [Fact, NeedsGolden("sdxl-tiny/unet")]
    public void StableDiffusionXl_BareComponent() =>
        Each("sdxl-tiny/unet", model => UNet(model, Golden.Tensors("sdxl-tiny/golden.safetensors")));

    [Fact, NeedsGolden("ddpm-tiny/unet/diffusion_pytorch_model.safetensors")]
    public void Ddpm() => Each(Path.Combine(Golden.At("ddpm-tiny/unet"), ".."), model =>
    {
        var golden = Golden.Tensors("ddpm-tiny/golden.safetensors");
        foreach (var (t, i) in golden["unet.timesteps"].ToInt64s().Select((t, i) => (t, i)))
            model.Gives("unet", [("sample", golden["unet.sample"]), ("timestep", Tensor.Vector(t))],
                ("out_sample", golden[$"unet.output.{i}"]));
        model.Gives("unet", [("sample", golden["unet.sample"]), ("timestep", golden["unet.mixed.timestep"])],
            ("out_sample", golden["unet.mixed.output"]));
    });

    [Fact]
    public void Clip_WholeAndBothTowers() => Each("clip-tiny", model =>
    {
        var golden = Golden.Tensors("clip-tiny/golden.safetensors");
        var (ids, pixels) = (("input_ids", golden["input_ids"]), ("pixel_values", golden["pixel_values"]));
        model.Gives("", [ids, pixels], [.. new[] { "logits_per_image", "text_embeds", "image_embeds" }.Select(n => (n, golden[n]))]);
        model.Gives("text_model", [ids], [.. new[] { "text_embeds", "text_features" }.Select(n => (n, golden[n]))]);
        model.Gives("vision_model", [pixels], ("image_embeds", golden["image_embeds"]), ("image_features", golden["image_features"]),
            ("pooler_output", golden["vision.pooler_output"]));
    });

    private static void UNet(Imported model, SafetensorsFile golden)
    {
        var inputs = new List<(string, Tensor)> { ("sample", golden["unet.sample"]),
            ("encoder_hidden_states", golden["unet.encoder_hidden_states"]) };
        if (golden.Tensors.ContainsKey("unet.text_embeds")) inputs.AddRange([("text_embeds", golden["unet.text_embeds"]),
            ("time_ids", golden["unet.time_ids"])]);
        foreach (var (t, i) in golden["unet.timesteps"].ToInt64s().Select((t, i) => (t, i))) model.Gives("unet",
            [.. inputs, ("timestep", Tensor.Vector(t))], ("out_sample", golden[$"unet.output.{i}"]));
        model.Gives("unet", [.. inputs, ("timestep", golden["unet.mixed.timestep"])], ("out_sample", golden["unet.mixed.output"]));
    }

    private static void Autoencoder(Imported model, SafetensorsFile golden, Tensor latent)
    {
        Tensor mean = golden["vae.mean"], logvar = golden["vae.logvar"];
        var both = new Tensor(mean.Type, [1, 2 * mean.Dims[1], mean.Dims[2], mean.Dims[3]], (byte[])[.. mean.Bytes(), .. logvar.Bytes()]);
        model.Gives("vae_decoder", [("latent_sample", latent)], ("sample", golden["vae.decoded"]));
        model.Gives("vae_encoder", [("sample", golden["vae.image"])], ("latent_parameters", both));
    }

    private static void Each(string set, Action<Imported> check)
    {
        foreach (var type in (ElementType[])[ElementType.Float, ElementType.Float16])
        {
            using var folder = new TempFolder();
            CheckpointImport.Write(ImportPlan.Make(Golden.At(set), new ImportOptions { Type = type }), folder.At("onnx"));
            using var model = new Imported(folder.At("onnx"), type);
            check(model);
        }
    }

    private sealed record Imported(string Folder, ElementType Type) : IDisposable
    {
        private readonly Dictionary<string, InferenceSession> _sessions = [];

        public void Dispose()
        {
            foreach (var session in _sessions.Values) session.Dispose();
        }

        public void Gives(string place, (string Name, Tensor Data)[] inputs, params (string Name, Tensor Data)[] expected)
        {
            using var options = Ort.Options();
            if (!_sessions.TryGetValue(place, out var session)) _sessions[place] = session =
                new InferenceSession(Path.Combine(Folder, place, "model.onnx"), options);
            foreach (var (name, data) in inputs.Where(i => i.Data.Type == ElementType.Float)) Assert.Equal((name, (int)Type),
                (name, (int)session.InputMetadata[name].ElementDataType));
            var outputs = Ort.Run(session, [.. inputs.Select(i => (i.Name, i.Data.Type == ElementType.Float ? i.Data.As(Type) : i.Data))]);
            foreach (var (name, data) in expected)
            {
                Assert.Equal((name, Type), (name, outputs[name].Type));
                var error = Golden.Error(outputs[name].As(ElementType.Float), data);
                Assert.True(error < (Type == ElementType.Float ? 1e-4 : 1e-2),
                    $"{place} {name} {Type}: max error / max value is {error:E2}");
            }
        }
    }
}
