using OrtRlhf.Diffusion.Models;
using OrtRlhf.Graph;
using OrtRlhf.Graph.Files;
using OrtRlhf.Graph.Formats;

namespace OrtRlhf.Diffusion.Adapters;

/// <summary>A layer of an adapter: y += B (A x).</summary>
/// <param name="Module">Module path, such as <c>mid_block.attentions.0.transformer_blocks.0.attn1.to_q</c>.</param>
/// <param name="A">[r, in], of a convolution [r, in, kh, kw]; Float.</param>
/// <param name="B">[out, r], of a convolution [out, r, 1, 1]; Float, with the factor alpha/r in it.</param>
public sealed record AdapterLayer(string Module, Tensor A, Tensor B)
{
    /// <summary>The component that has the module, one of <see cref="AdapterFile.Components"/>; default <c>unet</c>.</summary>
    public string Component { get; init; } = "unet";

    /// <summary>r.</summary>
    public int Rank => (int)A.Dims[0];
}

/// <summary>
/// A low-rank adapter as a file: <c>.onnx_adapter</c> for ONNX Runtime's own API, <c>.safetensors</c> in the names of PEFT and diffusers
/// (<c>unet.MODULE.lora_A.weight</c>, of a transformer <c>transformer.MODULE...</c>), or in kohya's. Files written here have the factor
/// alpha/r multiplied into B: they mean the same to
/// readers that know no alpha, and fit every exported model. ONNX Runtime takes an adapter for one model: the layers of text encoders lie
/// in files beside it,
/// <c>NAME.text_encoder.onnx_adapter</c>.
/// </summary>
/// <param name="Path">The file, for messages.</param>
/// <param name="Layers">Its layers of the denoiser.</param>
public sealed record AdapterFile(string Path, IReadOnlyList<AdapterLayer> Layers)
{
    /// <summary>Text encoders that adapters may have layers of.</summary>
    public static IReadOnlyList<string> TextEncoders { get; } = ["text_encoder", "text_encoder_2"];

    /// <summary>All components that adapters may have layers of.</summary>
    public static IReadOnlyList<string> Components { get; } = ["unet", "transformer", .. TextEncoders];

    /// <summary>Its layers of text encoders.</summary>
    public IReadOnlyList<AdapterLayer> TextLayers { get; init; } = [];

    /// <summary>Put before the module paths of a U-Net, and of a transformer.</summary>
    public const string UNetPrefix = "unet.", TransformerPrefix = "transformer.";

    internal const string SuffixA = ".lora_A.weight", SuffixB = ".lora_B.weight";

    /// <summary>Whether the modules are kohya's, with underscores for dots, which only the model can undo.</summary>
    public bool HasKohyaNames { get; init; }

    /// <summary>The same with the module paths of a model, where the names are kohya's.</summary>
    /// <param name="model">The model.</param>
    /// <exception cref="UserError">The model has no such module.</exception>
    public AdapterFile NamedAs(ImageModel model) => KohyaNames.Named(this, model);

    /// <summary>Reads a file.</summary>
    /// <param name="path">Ends with <c>.onnx_adapter</c> or <c>.safetensors</c>.</param>
    /// <exception cref="UserError">It is missing, damaged or of another kind, half a layer is missing, or a tensor is not one of the
    /// denoiser's adapters.</exception>
    public static AdapterFile Open(string path)
    {
        if (Directory.Exists(path)) throw new UserError(
            $"adapter '{path}': expected a file, got a folder; a run has it as adapter/adapter.onnx_adapter");
        if (!File.Exists(path)) throw new UserError($"adapter '{path}': there is no such file");
        switch (System.IO.Path.GetExtension(path).ToLowerInvariant())
        {
            case ".onnx_adapter":
                return Of(path, [.. TextEncoders.Select(c => Beside(path, c)).Where(File.Exists).Prepend(path)
                .SelectMany(file => OnnxAdapter.Read(file).Parameters)], null);
            case ".safetensors":
                var content = AdapterMetadata.Read(path);
                return Of(path, content.Tensors, content.Scale) with { HasKohyaNames = content.IsKohya };
            default: throw Ending(path);
        }
    }

    /// <summary>Writes the adapter of a policy as it is now, whole or not at all.</summary>
    /// <param name="policy">The policy.</param>
    /// <param name="path">Ends with <c>.onnx_adapter</c> or <c>.safetensors</c>.</param>
    /// <exception cref="UserError">Another ending, or the place cannot be written.</exception>
    public static void Write(Policy policy, string path) => Of(policy, path).Write();

    /// <summary>The adapter of a policy as it is now.</summary>
    /// <param name="policy">The policy.</param>
    /// <param name="path">Where it may be written.</param>
    public static AdapterFile Of(Policy policy, string path)
    {
        var (tensors, prefix) = (policy.Adapters.ToTensors(), policy.Lora.Prefix);
        var modules = policy.Adapters.Names.Where(n => n.EndsWith(SuffixA, StringComparison.Ordinal)).Select(n =>
            n[prefix.Length..^SuffixA.Length]);
        return new AdapterFile(path, [.. modules.Select(m => new AdapterLayer(m, tensors[prefix + m + SuffixA],
            Scaled(tensors[prefix + m + SuffixB], policy.Lora.Scale)) { Component = prefix[..^1] })])
        {
            TextLayers = policy.TextLayers,
        };
    }

    /// <summary>Writes the file at its path, whole or not at all; the ending tells the format.</summary>
    /// <exception cref="UserError">Another ending, or the place cannot be written.</exception>
    public void Write()
    {
        switch (System.IO.Path.GetExtension(Path).ToLowerInvariant())
        {
            case ".onnx_adapter":
                foreach (var component in TextEncoders)
                {
                    var (file, layers) = (Beside(Path, component), TextLayers.Where(l => l.Component == component).ToList());
                    if (layers.Count > 0) AtomicFile.Write(file, new OnnxAdapter([.. layers.SelectMany(Tensors)]).ToBytes());
                    else if (File.Exists(file)) File.Delete(file); // of the adapter that is written over
                }
                AtomicFile.Write(Path, new OnnxAdapter([.. Layers.SelectMany(Tensors)]).ToBytes());
                break;
            case ".safetensors":
                AdapterLayer[] all = [.. Layers, .. TextLayers];
                AtomicFile.Write(Path, stream => SafetensorsFile.Write(stream,
                    all.SelectMany(Tensors).Select(t => KeyValuePair.Create(t.Name, t.Data)), AdapterMetadata.Write(all)));
                break;
            default: throw Ending(Path);
        }

        static (string Name, Tensor Data)[] Tensors(AdapterLayer layer) =>
            [($"{layer.Component}.{layer.Module}{SuffixA}", layer.A), ($"{layer.Component}.{layer.Module}{SuffixB}", layer.B)];
    }

    /// <summary>Writes the file at its path, which ends with <c>.safetensors</c>, in kohya's names, whole or not at all.</summary>
    /// <exception cref="UserError">Another ending, or the place cannot be written.</exception>
    public void WriteKohya()
    {
        if (Layers.Any(l => l.Component != "unet")) throw new UserError(
            $"adapter '{Path}': kohya's names are of U-Nets, got layers of a transformer; write it in diffusers' names");
        if (!Path.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) throw new UserError(
            $"adapter '{Path}': expected .safetensors for kohya's names, got '{System.IO.Path.GetExtension(Path)}'");
        AtomicFile.Write(Path, stream => SafetensorsFile.Write(stream, AdapterMetadata.Kohya([.. Layers, .. TextLayers]),
            new Dictionary<string, string> { ["format"] = "pt", ["ss_network_module"] = "networks.lora" }));
    }

    private static AdapterFile Of(string path, IReadOnlyList<(string Name, Tensor Data)> tensors, Func<AdapterLayer, double>? scale)
    {
        try
        {
            new OnnxAdapter(tensors).Validate();
        }
        catch (UserError fault)
        {
            throw new UserError($"adapter '{path}': {fault.Message}", fault);
        }
        var layers = new List<AdapterLayer>();
        var byName = tensors.ToDictionary(t => t.Name, t => t.Data, StringComparer.Ordinal);
        foreach (var name in byName.Keys.Where(n => !n.EndsWith(SuffixB, StringComparison.Ordinal)))
        {
            var component = Components.FirstOrDefault(c => name.StartsWith(c + ".", StringComparison.Ordinal));
            if (component is null || !name.EndsWith(SuffixA, StringComparison.Ordinal) || name.Contains('*'))
                throw new UserError($"adapter '{path}': expected tensors named COMPONENT.MODULE{SuffixA} and {SuffixB}, layers of "
                    + $"{string.Join(", ", Components)}, got '{name}'");
            var module = name[(component.Length + 1)..^SuffixA.Length];
            var layer = new AdapterLayer(module, byName[name].As(ElementType.Float),
                byName[name[..^SuffixA.Length] + SuffixB].As(ElementType.Float))
            { Component = component };
            if (layer.Rank < 1) throw new UserError($"adapter '{path}': '{name}': expected a rank of at least 1, got {layer.A}");
            layers.Add(scale is null ? layer : layer with { B = Scaled(layer.B, scale(layer)) });
        }
        return layers.Count == 0 ? throw new UserError($"adapter '{path}': no tensors in it")
            : new AdapterFile(path, [.. layers.Where(l => !IsText(l))]) { TextLayers = [.. layers.Where(IsText)] };

        static bool IsText(AdapterLayer layer) => TextEncoders.Contains(layer.Component);
    }

    private static string Beside(string path, string component) =>
        $"{path[..^System.IO.Path.GetExtension(path).Length]}.{component}{System.IO.Path.GetExtension(path)}";

    private static Tensor Scaled(Tensor tensor, double scale)
    {
        if (scale == 1) return tensor;
        var values = tensor.ToFloats();
        for (var i = 0; i < values.Length; i++) values[i] = (float)(values[i] * scale);
        return Tensor.Of(values, tensor.Dims);
    }

    private static UserError Ending(string path) =>
        new($"adapter '{path}': expected .onnx_adapter or .safetensors, got '{System.IO.Path.GetExtension(path)}'");
}
