namespace OrtRlhf.Models;

/// <summary>Options of CLIP's image encoder, as a config.json has them; what is missing takes transformers' default.</summary>
public sealed record ClipVisionConfig
{
    /// <summary>Width of the states.</summary>
    public long HiddenSize { get; init; } = 768;

    /// <summary>Width inside the feed-forward layers.</summary>
    public long IntermediateSize { get; init; } = 3072;

    /// <summary>Layers.</summary>
    public long NumHiddenLayers { get; init; } = 12;

    /// <summary>Heads of attention.</summary>
    public long NumAttentionHeads { get; init; } = 12;

    /// <summary>Image channels.</summary>
    public long NumChannels { get; init; } = 3;

    /// <summary>Height and width of images.</summary>
    public long ImageSize { get; init; } = 224;

    /// <summary>Height and width of the patches that images are cut into.</summary>
    public long PatchSize { get; init; } = 32;

    /// <summary>Activation.</summary>
    public string HiddenAct { get; init; } = "quick_gelu";

    /// <summary>Epsilon of layer normalisations.</summary>
    public double LayerNormEps { get; init; } = 1e-5;

    /// <summary>Patches of an image.</summary>
    public long Patches => ImageSize / PatchSize * (ImageSize / PatchSize);

    internal static ClipVisionConfig Read(ConfigReader c)
    {
        var config = new ClipVisionConfig
        {
            HiddenSize = c.Integer("hidden_size", 768),
            IntermediateSize = c.Integer("intermediate_size", 3072),
            NumHiddenLayers = c.Integer("num_hidden_layers", 12),
            NumAttentionHeads = c.Integer("num_attention_heads", 12),
            NumChannels = c.Integer("num_channels", 3),
            ImageSize = c.Integer("image_size", 224),
            PatchSize = c.Integer("patch_size", 32),
            HiddenAct = c.Activation("hidden_act", "quick_gelu"),
            LayerNormEps = c.Number("layer_norm_eps", 1e-5),
        };
        return config.PatchSize <= config.ImageSize ? config
            : throw c.Unsupported("patch_size", $"{config.PatchSize}", $"at most the image_size {config.ImageSize}");
    }
}

/// <summary>Options of a CLIPModel: both towers, and the width of what they are compared in.</summary>
/// <param name="Text">The text encoder.</param>
/// <param name="Vision">The image encoder.</param>
/// <param name="ProjectionDim">Width P of the embeddings.</param>
public sealed record ClipConfig(ClipTextConfig Text, ClipVisionConfig Vision, long ProjectionDim)
{
    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="Graph.UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static ClipConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, "CLIPModel");
        var width = c.Integer("projection_dim", 512);
        return new ClipConfig(ClipTextConfig.Read(Tower("text_config")) with { ProjectionDim = width },
            ClipVisionConfig.Read(Tower("vision_config")), width);

        // Old files have a second object, which goes before the first.
        ConfigReader Tower(string name) => c.Child(c.Has(name + "_dict") ? name + "_dict" : name);
    }
}
