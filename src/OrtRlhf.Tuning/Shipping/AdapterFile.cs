using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Graph.Passes;
using OrtRlhf.Tuning.Sampling;

namespace OrtRlhf.Tuning.Shipping;

/// <summary>A layer of an adapter: y += B (A x).</summary>
/// <param name="Path">Module path, such as <c>mid_block.attentions.0.transformer_blocks.0.attn1.to_q</c>.</param>
/// <param name="A">[r, in], of a convolution [r, in, kh, kw]; Float.</param>
/// <param name="B">[out, r], of a convolution [out, r, 1, 1]; Float, with the factor alpha/r in it.</param>
public sealed record AdapterLayer(string Path, Tensor A, Tensor B)
{
    /// <summary>r.</summary>
    public int Rank => (int)A.Dims[0];
}

/// <summary>
/// A low-rank adapter as a file: <c>.onnx_adapter</c> for ONNX Runtime's own API, <c>.safetensors</c> in the names of PEFT and diffusers
/// (<c>unet.PATH.lora_A.weight</c>); kohya's names are read as well. The factor alpha/r is multiplied into B, so that a file means the same to readers that know
/// no alpha, and fits every exported model.
/// </summary>
/// <param name="Layers">Its layers.</param>
public sealed record AdapterFile(IReadOnlyList<AdapterLayer> Layers)
{
    /// <summary>Put before module paths.</summary>
    public const string Prefix = "unet.";

    internal const string SuffixA = ".lora_A.weight", SuffixB = ".lora_B.weight";

    /// <summary>The adapter of a policy, as it is now.</summary>
    public static AdapterFile Of(Policy policy)
    {
        var tensors = policy.Adapters.ToTensors();
        var paths = policy.Adapters.Names.Where(n => n.EndsWith(SuffixA, StringComparison.Ordinal)).Select(n => n[policy.Lora.Prefix.Length..^SuffixA.Length]);
        return new AdapterFile([.. paths.Select(path => new AdapterLayer(path,
            tensors[policy.Lora.Prefix + path + SuffixA], Scaled(tensors[policy.Lora.Prefix + path + SuffixB], policy.Lora.Scale)))]);
    }

    /// <summary>Writes the file, whole or not at all; its ending tells the format.</summary>
    /// <param name="path">Ends with <c>.onnx_adapter</c> or <c>.safetensors</c>.</param>
    /// <exception cref="UserError">Another ending, or the place cannot be written.</exception>
    public void Write(string path)
    {
        var tensors = Layers.SelectMany(l => new[] { (Prefix + l.Path + SuffixA, l.A), (Prefix + l.Path + SuffixB, l.B) }).ToArray();
        switch (Path.GetExtension(path))
        {
            case ".onnx_adapter": new OnnxAdapter(tensors).Write(path); break;
            case ".safetensors": SafetensorsFile.Write(path, tensors.Select(t => KeyValuePair.Create(t.Item1, t.Item2)), AdapterMetadata.Write(Layers)); break;
            default: throw Ending(path);
        }
    }

    /// <summary>Opens a file as a policy on a model: its layers, its rank (layers of a lower rank are filled up with zeros), its tensors.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">Ends with <c>.onnx_adapter</c> or <c>.safetensors</c>.</param>
    /// <exception cref="UserError">The file is missing or damaged, half a layer is missing, or a layer is not one of the model's, or of another shape.</exception>
    public static Policy Open(ImageModel model, string path)
    {
        var adapter = Read(path, model);
        Policy? policy = null;
        try
        {
            var rank = adapter.Layers.Max(l => l.Rank);
            policy = Policy.Create(model, new LoraOptions { Targets = [.. adapter.Layers.Select(l => l.Path)], Rank = rank, Prefix = Prefix }, seed: 0);
            var tensors = adapter.Layers.SelectMany(l => new[] { (Prefix + l.Path + SuffixA, Widened(l.A, 0, rank)), (Prefix + l.Path + SuffixB, Widened(l.B, 1, rank)) }).ToDictionary();
            policy.Adapters.Load((name, _) => tensors.TryGetValue(name, out var tensor) ? tensor : throw new UserError($"no tensor '{name}'; expected whole module paths"));
            return policy;
        }
        catch (UserError fault)
        {
            policy?.Dispose();
            throw new UserError($"adapter '{path}' on model '{model.Name}': {fault.Message}", fault);
        }
    }

    /// <summary>Reads a file.</summary>
    /// <param name="path">Ends with <c>.onnx_adapter</c> or <c>.safetensors</c>.</param>
    /// <param name="model">Tells the module paths that kohya's names stand for; null if there are none in the file.</param>
    /// <exception cref="UserError">The file is missing or damaged, half a layer is missing, or a tensor is not one of an adapter of the denoiser.</exception>
    public static AdapterFile Read(string path, ImageModel? model = null)
    {
        if (!File.Exists(path)) throw new UserError($"adapter '{path}': no such file");
        var (tensors, scales) = Path.GetExtension(path) switch
        {
            ".onnx_adapter" => (OnnxAdapter.Read(path).Parameters, null),
            ".safetensors" => AdapterMetadata.Read(path, model),
            _ => throw Ending(path),
        };
        try
        {
            new OnnxAdapter(tensors).Validate();
            return Of(tensors, scales);
        }
        catch (UserError fault)
        {
            throw new UserError($"adapter '{path}': {fault.Message}", fault);
        }
    }

    private static AdapterFile Of(IReadOnlyList<(string Name, Tensor Data)> tensors, Func<AdapterLayer, double>? scale)
    {
        var layers = new List<AdapterLayer>();
        var byName = tensors.ToDictionary(t => t.Name, t => t.Data, StringComparer.Ordinal);
        foreach (var name in byName.Keys)
        {
            if (name.EndsWith(SuffixB, StringComparison.Ordinal)) continue;
            if (!name.EndsWith(SuffixA, StringComparison.Ordinal) || !name.StartsWith(Prefix, StringComparison.Ordinal))
                throw new UserError($"tensor '{name}': expected {Prefix}PATH{SuffixA} and {SuffixB} alone, layers of the denoiser");
            var path = name[Prefix.Length..^SuffixA.Length];
            var layer = new AdapterLayer(path, byName[name].As(ElementType.Float), byName[Prefix + path + SuffixB].As(ElementType.Float));
            if (layer.Rank < 1) throw new UserError($"tensor '{name}': expected a rank of at least 1, got {layer.A}");
            layers.Add(scale is null ? layer : layer with { B = Scaled(layer.B, scale(layer)) });
        }
        return layers.Count > 0 ? new AdapterFile(layers) : throw new UserError("no tensors in it");
    }

    private static Tensor Scaled(Tensor tensor, double scale)
    {
        if (scale == 1) return tensor;
        var values = tensor.ToFloats();
        for (var i = 0; i < values.Length; i++) values[i] = (float)(values[i] * scale);
        return Tensor.Of(values, tensor.Dims);
    }

    // Fills the rank's axis up with zeros: [r, ...] or [out, r, ...] to R.
    private static Tensor Widened(Tensor tensor, int axis, int rank)
    {
        var have = tensor.Dims[axis];
        if (have == rank) return tensor;
        var (outer, inner) = (axis == 0 ? 1 : tensor.Dims[0], tensor.Dims[(axis + 1)..].Aggregate(1L, (a, b) => a * b));
        var (source, target) = (tensor.ToFloats(), new float[outer * rank * inner]);
        for (var o = 0; o < outer; o++) source.AsSpan((int)(o * have * inner), (int)(have * inner)).CopyTo(target.AsSpan((int)(o * rank * inner)));
        var dims = (long[])tensor.Dims.Clone();
        dims[axis] = rank;
        return Tensor.Of(target, dims);
    }

    private static UserError Ending(string path) => new($"adapter '{path}': expected a file that ends with .onnx_adapter or .safetensors");
}
