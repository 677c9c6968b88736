using OrtRlhf.Graph;
using OrtRlhf.Graph.Expressions;
using OrtRlhf.Models;
using TensorPrimitives = System.Numerics.Tensors.TensorPrimitives;

namespace OrtRlhf.Pretrain;

/// <summary>
/// The architecture of <c>models/shapes-flow</c>, Stable Diffusion 3.5's pipeline in small: a transformer that gives the velocity noise -
/// x0 of
/// x = (1 - t) x0 + t noise, two CLIP text encoders and no T5, whose place zeros take, on the latents of <c>models/shapes</c>.
/// </summary>
internal sealed class ShapesFlow : IDenoiser
{
    private const string Part = "transformer";
    private const int Patches = ShapesModel.LatentSide / 2;
    private const int Width = 160;
    private static readonly string[] TextParts = [TextTraining.Part, "text_encoder_2"];

    private const string TransformerJson = """
        {
          "_class_name": "SD3Transformer2DModel",
          "attention_head_dim": 32,
          "caption_projection_dim": 160,
          "dual_attention_layers": [],
          "in_channels": 4,
          "joint_attention_dim": 128,
          "num_attention_heads": 5,
          "num_layers": 5,
          "out_channels": 4,
          "patch_size": 2,
          "pooled_projection_dim": 128,
          "pos_embed_max_size": 8,
          "qk_norm": "rms_norm",
          "sample_size": 16
        }
        """;

    private const string SchedulerJson = """
        {
          "_class_name": "FlowMatchEulerDiscreteScheduler",
          "num_train_timesteps": 1000,
          "shift": 1.5,
          "use_dynamic_shifting": false
        }
        """;

    private const string ModelIndexJson = """
        {
          "_class_name": "StableDiffusion3Pipeline",
          "feature_extractor": [null, null],
          "image_encoder": [null, null],
          "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
          "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
          "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
          "text_encoder_3": [null, null],
          "tokenizer": ["transformers", "CLIPTokenizer"],
          "tokenizer_2": ["transformers", "CLIPTokenizer"],
          "tokenizer_3": [null, null],
          "transformer": ["diffusers", "SD3Transformer2DModel"],
          "vae": ["diffusers", "AutoencoderTiny"]
        }
        """;

    private static readonly string TextEncoderJson = WithProjection(ShapesModel.TextFields);

    private static readonly string TextEncoder2Json = WithProjection(
        ShapesModel.TextFields.Replace("96", "32", StringComparison.Ordinal).Replace("384", "128", StringComparison.Ordinal)
            .Replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 2", StringComparison.Ordinal)
            .Replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2", StringComparison.Ordinal));

    private readonly SD3Transformer2DConfig _transformer = SD3Transformer2DConfig.Parse(TransformerJson);
    private readonly ClipTextConfig[] _text = [ClipTextConfig.Parse(TextEncoderJson), ClipTextConfig.Parse(TextEncoder2Json)];

    public IReadOnlyDictionary<string, string> Configs { get; } = new Dictionary<string, string>
    {
        [Part] = TransformerJson,
        [TextParts[0]] = TextEncoderJson,
        [TextParts[1]] = TextEncoder2Json,
    };

    public IReadOnlyDictionary<string, Tensor> Buffers { get; } =
        new Dictionary<string, Tensor> { [$"{Part}.pos_embed.pos_embed"] = Places() };

    public void WriteFrame(string folder) => PipelineFolder.WriteFrame(folder, ModelIndexJson, SchedulerJson, "tokenizer", "tokenizer_2");

    // As the pipeline does: the states before the last layer side by side, then the places of T5's text, all zeros; the projections side by
    // side.
    public Value Forward(OnnxGraph graph, Weights weights, Value sample, Value timestep, Value ids)
    {
        var texts = TextParts.Zip(_text, (part, config) =>
        {
            var m = new Module(graph, weights, part);
            var output = ClipTextModel.Forward(m, config, ids);
            return (States: output.HiddenStates[^2], Pooled: ClipTextModel.Project(m, config, output));
        }).ToArray();
        var states = Layout.Concat(2, [.. texts.Select(t => t.States)]);
        var context = Layout.Concat(1, states, graph.Constant(Tensor.Of(
            new float[(int)(ids.Shape!.Count * _transformer.JointAttentionDim)], [.. ids.Shape.Sizes, _transformer.JointAttentionDim])));
        var pooled = Layout.Concat(1, [.. texts.Select(t => t.Pooled)]);
        return SD3Transformer2DModel.Forward(new Module(graph, weights, Part), _transformer, sample, timestep, context, pooled);
    }

    // The same levels of noise against signal as the U-Net's.
    public float AddNoise(double z, ReadOnlySpan<float> x0, ReadOnlySpan<float> noise, Span<float> x, Span<float> target)
    {
        var t = (float)(1 / (1 + Math.Exp(-(0.85 + (1.35 * z)))));
        TensorPrimitives.Subtract(noise, x0, target);
        TensorPrimitives.MultiplyAdd(target, t, x0, x);
        return 1000 * t;
    }

    private static string WithProjection(string fields) => $$"""
        {
          "architectures": ["CLIPTextModelWithProjection"],
        {{fields}}
        }
        """;

    // Sines and cosines of column, then of row, at frequencies 10000^(-4i/width), as diffusers fills the table.
    private static Tensor Places()
    {
        const int Quarter = Width / 4;
        var table = new float[Patches * Patches * Width];
        for (var place = 0; place < Patches * Patches; place++)
            for (var i = 0; i < Quarter; i++)
            {
                var frequency = Math.Pow(10000, -(double)i / Quarter);
                var (column, row) = (place % Patches * frequency, place / Patches * frequency);
                var at = (place * Width) + i;
                (table[at], table[at + Quarter]) = ((float)Math.Sin(column), (float)Math.Cos(column));
                (table[at + (2 * Quarter)], table[at + (3 * Quarter)]) = ((float)Math.Sin(row), (float)Math.Cos(row));
            }
        return Tensor.Of(table, 1, Patches * Patches, Width);
    }
}
