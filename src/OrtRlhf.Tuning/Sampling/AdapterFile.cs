using System.Globalization;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Tuning.Sampling;

/// <summary>Low-rank adapters as a file holds them: <c>.onnx_adapter</c> or <c>.safetensors</c>.</summary>
/// <param name="Path">The file.</param>
/// <param name="Tensors">A [r,in] and B [out,r] by <c>unet.MODULE.lora_A.weight</c> and <c>.lora_B.weight</c>; every layer has both.</param>
/// <param name="Scale">alpha/rank as the file tells it; null when it does not.</param>
public sealed record AdapterFile(string Path, IReadOnlyDictionary<string, Tensor> Tensors, double? Scale)
{
    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="UserError">Missing, truncated, of another kind, or half an adapter.</exception>
    public static AdapterFile Open(string path)
    {
        if (Directory.Exists(path)) throw new UserError($"adapter '{path}': expected a file, got a folder; a run has it as adapter/adapter.onnx_adapter");
        if (!File.Exists(path)) throw new UserError($"adapter '{path}': there is no such file");
        switch (System.IO.Path.GetExtension(path).ToLowerInvariant())
        {
            case ".onnx_adapter":
                return new(path, OnnxAdapter.Read(path).Parameters.ToDictionary(p => p.Name, p => p.Data, StringComparer.Ordinal), null);
            case ".safetensors":
                var file = SafetensorsFile.Open(path);
                new OnnxAdapter([.. file.Tensors.Select(t => (t.Key, t.Value))]).Validate();
                return new(path, file.Tensors, Number(file, "alpha") / Number(file, "rank"));
            case var other:
                throw new UserError($"adapter '{path}': expected .onnx_adapter or .safetensors, got '{other}'");
        }
    }

    private static double? Number(SafetensorsFile file, string name) =>
        file.Metadata.TryGetValue(name, out var text) && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && number > 0 ? number : null;
}
