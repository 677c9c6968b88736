namespace OrtRlhf.Diffusion.Inspection;

/// <summary>An input or output of a graph.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Element type, as ONNX names it: float, float16, int64.</param>
/// <param name="Shape">Sizes, outermost first; symbols for those that are open. Null where the file does not say.</param>
public sealed record ValueReport(string Name, string Type, IReadOnlyList<string>? Shape)
{
    /// <summary>The name of an element type.</summary>
    internal static string TypeName(Graph.ElementType type) => type.ToString().ToLowerInvariant();
}

/// <summary>What a component of a model is.</summary>
public sealed record ComponentReport
{
    /// <summary>
    /// Its name in the pipeline, such as <c>unet</c>; <c>vae_decoder</c> and <c>vae_encoder</c> for both halves of an autoencoder.
    /// </summary>
    public required string Name { get; init; }

    /// <summary>Its class, from its own config.json or the pipeline's index; empty where nothing says it.</summary>
    public required string Class { get; init; }

    /// <summary><c>safetensors</c>, <c>onnx</c>, or <c>files</c> for what has no weights (tokenizer, scheduler).</summary>
    public required string Format { get; init; }

    /// <summary>Number of floating-point weights.</summary>
    public long Parameters { get; init; }

    /// <summary>Element types of those weights, the most frequent first.</summary>
    public IReadOnlyList<string> Types { get; init; } = [];

    /// <summary>Version of ONNX's operator set; null for weights.</summary>
    public int? Opset { get; init; }

    /// <summary>Inputs of its graph.</summary>
    public IReadOnlyList<ValueReport> Inputs { get; init; } = [];

    /// <summary>Outputs of its graph.</summary>
    public IReadOnlyList<ValueReport> Outputs { get; init; } = [];

    /// <summary>Paths of the modules that LoRA targets match.</summary>
    public IReadOnlyList<string> LoraTargets { get; init; } = [];

    /// <summary>
    /// Operators behind those modules (all, where there are none) through which no gradient can be taken, and how many nodes have them.
    /// </summary>
    public IReadOnlyDictionary<string, int> UnsupportedOperators { get; init; } = new Dictionary<string, int>();

    /// <summary>Why there is no graph, where there is none.</summary>
    public string? Note { get; init; }
}
