using OrtRlhf.Graph;

namespace OrtRlhf.Models;

/// <summary>
/// Options of a UNet2DConditionModel, as its config.json has them; what is missing takes diffusers' default. Lists have an entry for each
/// block, from the outermost to the innermost.
/// </summary>
public sealed record UNet2DConditionConfig
{
    /// <summary>Its name in config.json.</summary>
    public const string ClassName = "UNet2DConditionModel";
    private const long MostLayers = 1024;

    /// <summary>Height and width of the latents it was trained on, in cells; 0 where not said.</summary>
    public long SampleSize { get; init; }

    /// <summary>Input channels.</summary>
    public long InChannels { get; init; } = 4;

    /// <summary>Output channels.</summary>
    public long OutChannels { get; init; } = 4;

    /// <summary>Whether the input x becomes 2x - 1 first.</summary>
    public bool CenterInputSample { get; init; }

    /// <summary>Whether the sinusoids of the timestep start with cosines.</summary>
    public bool FlipSinToCos { get; init; } = true;

    /// <summary>Taken off the divisor of the sinusoids' exponents.</summary>
    public double FreqShift { get; init; }

    /// <summary>CrossAttnDownBlock2D or DownBlock2D.</summary>
    public string[] DownBlockTypes { get; init; } = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];

    /// <summary>CrossAttnUpBlock2D or UpBlock2D, from the innermost to the outermost.</summary>
    public string[] UpBlockTypes { get; init; } = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];

    /// <summary>UNetMidBlock2DCrossAttn, UNetMidBlock2D, or null for none.</summary>
    public string? MidBlockType { get; init; } = "UNetMidBlock2DCrossAttn";

    /// <summary>Whether self-attention looks at the text instead, a block.</summary>
    public bool[] OnlyCrossAttention { get; init; } = [false, false, false, false];

    /// <summary>Width of each block.</summary>
    public long[] BlockOutChannels { get; init; } = [320, 640, 1280, 1280];

    /// <summary>Residual blocks in each block on the way down; one more on the way up.</summary>
    public long[] LayersPerBlock { get; init; } = [2, 2, 2, 2];

    /// <summary>Zeros around the input of a downsampling convolution; 0 pads bottom and right only.</summary>
    public long DownsamplePadding { get; init; } = 1;

    /// <summary>The middle residual blocks' output is divided by it.</summary>
    public double MidBlockScaleFactor { get; init; } = 1;

    /// <summary>Activation.</summary>
    public string ActFn { get; init; } = "silu";

    /// <summary>Groups of group normalisations.</summary>
    public long NormNumGroups { get; init; } = 32;

    /// <summary>Epsilon of the residual blocks' normalisations and of the last.</summary>
    public double NormEps { get; init; } = 1e-5;

    /// <summary>Width of the text states.</summary>
    public long[] CrossAttentionDim { get; init; } = [1280, 1280, 1280, 1280];

    /// <summary>Transformer blocks in each attention on the way down: a list of layers for each block.</summary>
    public long[][] TransformerLayersPerBlock { get; init; } = [[1, 1], [1, 1], [1, 1], [1, 1]];

    /// <summary>Transformer blocks in each attention on the way up, from the innermost; null for the reverse of the way down.</summary>
    public long[][]? ReverseTransformerLayersPerBlock { get; init; }

    /// <summary>Number of heads (named attention_head_dim in most files).</summary>
    public long[] NumAttentionHeads { get; init; } = [8, 8, 8, 8];

    /// <summary>Whether attention's outer projections are linear layers, not 1x1 convolutions.</summary>
    public bool UseLinearProjection { get; init; }

    /// <summary>Whether attention in half precision is computed in single precision.</summary>
    public bool UpcastAttention { get; init; }

    /// <summary>Whether the time embedding scales and shifts (scale_shift) instead of being added (default).</summary>
    public bool ResnetScaleShift { get; init; }

    /// <summary>Width of the time embedding.</summary>
    public long TimeEmbeddingDim { get; init; } = 1280;

    /// <summary>Activation of the sum of all embeddings; null for none.</summary>
    public string? TimeEmbeddingActFn { get; init; }

    /// <summary>Activation behind the time embedding; null for none.</summary>
    public string? TimestepPostAct { get; init; }

    /// <summary>Width of the additional input <c>timestep_cond</c>; null for none.</summary>
    public long? TimeCondProjDim { get; init; }

    /// <summary>
    /// How <c>class_labels</c> enter: embedding, timestep, projection, simple_projection, identity, or null for not at all.
    /// </summary>
    public string? ClassEmbedType { get; init; }

    /// <summary>Number of classes of an embedding.</summary>
    public long NumClassEmbeds { get; init; }

    /// <summary>Whether the class embedding is appended to the time embedding, not added.</summary>
    public bool ClassEmbeddingsConcat { get; init; }

    /// <summary>
    /// Whether pooled text and size numbers (<c>text_embeds</c>, <c>time_ids</c>) are added to the time embedding, as in SDXL.
    /// </summary>
    public bool TextTime { get; init; }

    /// <summary>Sinusoids per number of <c>time_ids</c>.</summary>
    public long AdditionTimeEmbedDim { get; init; } = 256;

    /// <summary>Width of the projected class labels, or of pooled text and size numbers together.</summary>
    public long ProjectionClassEmbeddingsInputDim { get; init; }

    /// <summary>Width of text states that are projected to the cross-attention width first; null for none.</summary>
    public long? EncoderHidDim { get; init; }

    /// <summary>Kernel of the first convolution.</summary>
    public long ConvInKernel { get; init; } = 3;

    /// <summary>Kernel of the last convolution.</summary>
    public long ConvOutKernel { get; init; } = 3;

    /// <summary>Width of <c>encoder_hidden_states</c>.</summary>
    public long ContextWidth => EncoderHidDim ?? CrossAttentionDim[0];

    /// <summary>Numbers in a row of <c>time_ids</c>: 5 with an aesthetic score (SDXL's refiner), 6 otherwise.</summary>
    public long TimeIdCount => ProjectionClassEmbeddingsInputDim - (5 * AdditionTimeEmbedDim) == CrossAttentionDim[0] ? 5 : 6;

    /// <summary>Reads the text of a config.json.</summary>
    /// <exception cref="UserError">It is not valid, or has an option that is not supported (names it and its value).</exception>
    public static UNet2DConditionConfig Parse(string json)
    {
        var c = ConfigReader.Parse(json, ClassName);
        c.Only("dual_cross_attention", "false");
        c.Only("attention_type", "\"default\"");
        c.Only("time_embedding_type", "\"positional\"");
        c.Only("cross_attention_norm");
        c.Only("addition_embed_type", "\"text_time\"");
        c.Only("encoder_hid_dim_type", "\"text_proj\"");

        var d = new UNet2DConditionConfig();
        var channels = c.Integers("block_out_channels", d.BlockOutChannels);
        var blocks = channels.Length;
        var layers = c.PerBlock("layers_per_block", 2, blocks, MostLayers);
        var classType = c.Text("class_embed_type") is null && c.Has("num_class_embeds") ? "embedding" : c.Text("class_embed_type");
        if (classType is not (null or "embedding" or "timestep" or "projection" or "simple_projection" or "identity"))
            throw c.Unsupported("class_embed_type", classType, "timestep, projection, simple_projection, identity or null");
        var headKey = c.Has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
        var config = new UNet2DConditionConfig
        {
            SampleSize = c.Size("sample_size"),
            InChannels = c.Integer("in_channels", 4),
            OutChannels = c.Integer("out_channels", 4),
            CenterInputSample = c.Flag("center_input_sample", false),
            FlipSinToCos = c.Flag("flip_sin_to_cos", true),
            FreqShift = c.Number("freq_shift", 0),
            DownBlockTypes = c.Choices("down_block_types", d.DownBlockTypes, "CrossAttnDownBlock2D", "DownBlock2D"),
            UpBlockTypes = c.Choices("up_block_types", d.UpBlockTypes, "CrossAttnUpBlock2D", "UpBlock2D"),
            MidBlockType = c.IsNull("mid_block_type") ? null
                : c.Choice("mid_block_type", d.MidBlockType!, "UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
            OnlyCrossAttention = c.FlagPerBlock("only_cross_attention", false, blocks),
            BlockOutChannels = channels,
            LayersPerBlock = layers,
            DownsamplePadding = c.Integer("downsample_padding", 1, 0),
            MidBlockScaleFactor = c.Number("mid_block_scale_factor", 1),
            ActFn = c.Activation("act_fn", "silu"),
            NormNumGroups = c.Integer("norm_num_groups", 32),
            NormEps = c.Number("norm_eps", 1e-5),
            CrossAttentionDim = c.PerBlock("cross_attention_dim", 1280, blocks),
            TransformerLayersPerBlock = c.PerLayer("transformer_layers_per_block", 1, layers),
            ReverseTransformerLayersPerBlock = c.Has("reverse_transformer_layers_per_block")
                ? c.PerLayer("reverse_transformer_layers_per_block", 1, [.. layers.Reverse().Select(n => n + 1)]) : null,
            NumAttentionHeads = c.PerBlock(headKey, 8, blocks),
            UseLinearProjection = c.Flag("use_linear_projection", false),
            UpcastAttention = c.Flag("upcast_attention", false),
            ResnetScaleShift = c.Choice("resnet_time_scale_shift", "default", "default", "scale_shift") == "scale_shift",
            TimeEmbeddingDim = c.Integer("time_embedding_dim", channels[0] * 4),
            TimeEmbeddingActFn = c.OptionalActivation("time_embedding_act_fn"),
            TimestepPostAct = c.OptionalActivation("timestep_post_act"),
            TimeCondProjDim = c.OptionalInteger("time_cond_proj_dim"),
            ClassEmbedType = classType,
            NumClassEmbeds = c.Integer("num_class_embeds", 0, 0),
            ClassEmbeddingsConcat = c.Flag("class_embeddings_concat", false),
            TextTime = c.Has("addition_embed_type"),
            AdditionTimeEmbedDim = c.Integer("addition_time_embed_dim", 256),
            ProjectionClassEmbeddingsInputDim = c.Integer("projection_class_embeddings_input_dim", 0, 0),
            EncoderHidDim = c.OptionalInteger("encoder_hid_dim"),
            ConvInKernel = c.Integer("conv_in_kernel", 3),
            ConvOutKernel = c.Integer("conv_out_kernel", 3),
        };
        // The reference passes these on to blocks of other kinds only.
        c.NothingElse("addition_embed_type_num_heads", "mid_block_only_cross_attention", "resnet_skip_time_act", "resnet_out_scale_factor");
        c.SameCount("down_block_types", config.DownBlockTypes.Length, blocks);
        c.SameCount("up_block_types", config.UpBlockTypes.Length, blocks);
        if (c.IsNested("transformer_layers_per_block") && config.ReverseTransformerLayersPerBlock is null)
            throw new UserError($"config.json of {ClassName}: transformer_layers_per_block is a list of lists, so "
                + $"reverse_transformer_layers_per_block is needed as well");
        if ((config.TextTime || classType is "projection" or "simple_projection") && config.ProjectionClassEmbeddingsInputDim == 0)
            throw new UserError(
                $"config.json of {ClassName}: projection_class_embeddings_input_dim is missing; expected the width of the added embedding");
        if (config.TextTime && config.ProjectionClassEmbeddingsInputDim <= config.TimeIdCount * config.AdditionTimeEmbedDim)
            throw new UserError($"config.json of {ClassName}: projection_class_embeddings_input_dim = "
                + $"{config.ProjectionClassEmbeddingsInputDim} leaves no room for text_embeds beside {config.TimeIdCount} * "
                + $"{config.AdditionTimeEmbedDim} sinusoids");
        return config;
    }
}
