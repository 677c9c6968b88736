using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tuning.Sampling;

namespace OrtRlhf.Tuning.Shipping;

/// <summary>
/// Writes a pipeline as ONNX models in Optimum's layout: <c>text_encoder/model.onnx</c>, <c>unet/model.onnx</c>, <c>vae_decoder/model.onnx</c>,
/// <c>vae_encoder/model.onnx</c> where the model has one, with configurations, scheduler and tokenizer beside them. The denoiser declares the tensors of its
/// adapters as inputs with empty defaults: without an adapter it computes exactly the base model, and with one that ONNX Runtime activates
/// (<c>RunOptions.AddActiveLoraAdapter</c>) the tuned one, of any rank.
/// </summary>
public static class PipelineExport
{
    private static readonly string[] TokenizerFiles =
        ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"];

    /// <summary>Writes the folder.</summary>
    /// <param name="model">The model; its folder gives the configurations.</param>
    /// <param name="lora">Which layers take adapters; null for none. Rank and alpha do not matter: files have alpha/r in B (<see cref="AdapterFile"/>).</param>
    /// <param name="folder">Where to; made if need be, files of an earlier export are replaced.</param>
    /// <exception cref="UserError">The place is the model's own, or cannot be written, or the model cannot be read.</exception>
    public static void Write(ImageModel model, LoraOptions? lora, string folder)
    {
        if (Path.GetFullPath(folder).TrimEnd('/') == Path.GetFullPath(model.Folder).TrimEnd('/'))
            throw new UserError($"export '{folder}': is the model's own folder; give another one");
        var denoiser = model.Denoiser("batch");
        if (lora is not null) InjectLora.Apply(denoiser, lora with { AnyRank = true, Alpha = null });
        foreach (var encoder in model.TextEncoders) OnnxFile.Write(encoder.Graph("batch"), At(encoder.Name));
        OnnxFile.Write(denoiser, At("unet"));
        if (model.Decoder is { } decoder) OnnxFile.Write(decoder("batch"), At("vae_decoder"));
        if (model.Encoder is { } imageEncoder) OnnxFile.Write(imageEncoder("batch"), At("vae_encoder"));
        try
        {
            Copy("", "", "model_index.json");
            Copy("scheduler", "scheduler", "scheduler_config.json");
            foreach (var tokenizer in (string[])["tokenizer", "tokenizer_2"]) Copy(tokenizer, tokenizer, TokenizerFiles);
            foreach (var component in (string[])["text_encoder", "text_encoder_2", "unet", "vae_decoder"]) Copy(component, component, "config.json");
            foreach (var component in (string[])["vae_decoder", "vae_encoder"])
                if (File.Exists(At(component))) Copy("vae", component, "config.json");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new UserError($"export '{folder}': cannot be written ({fault.Message.ReplaceLineEndings(" ")})", fault);
        }

        string At(string component) => Path.Combine(folder, component, "model.onnx");

        void Copy(string from, string to, params IEnumerable<string> names)
        {
            foreach (var name in names)
            {
                var source = Path.Combine(model.Folder, from, name);
                if (!File.Exists(source)) continue;
                PlainFile.CheckLink(source, Path.Combine(model.Folder, from), $"model '{model.Folder}'");
                Directory.CreateDirectory(Path.Combine(folder, to));
                File.WriteAllBytes(Path.Combine(folder, to, name), File.ReadAllBytes(source));
            }
        }
    }
}
