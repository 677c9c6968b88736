using OrtRlhf.Graph;
using OrtRlhf.Graph.Formats;
using OrtRlhf.Models;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>The architecture of the shipped CLIP, and its folder as transformers writes one: everything side by side.</summary>
internal static class ShapesClip
{
    public const string PreprocessorJson = """
        {
          "crop_size": { "height": 64, "width": 64 },
          "do_center_crop": true,
          "do_convert_rgb": true,
          "do_normalize": true,
          "do_rescale": true,
          "do_resize": true,
          "image_mean": [0.5, 0.5, 0.5],
          "image_processor_type": "CLIPImageProcessor",
          "image_std": [0.5, 0.5, 0.5],
          "resample": 3,
          "rescale_factor": 0.00392156862745098,
          "size": { "shortest_edge": 64 }
        }
        """;

    // The text tower is the shipped model's text encoder, so that it can start from it.
    public static string ConfigJson { get; } = $$"""
        {
          "architectures": ["CLIPModel"],
          "logit_scale_init_value": 2.6592,
          "model_type": "clip",
          "projection_dim": 96,
          "text_config": {
        {{ShapesModel.TextFields}}
          },
          "vision_config": {
            "hidden_act": "quick_gelu",
            "hidden_size": 96,
            "image_size": {{Scene.Side}},
            "intermediate_size": 256,
            "layer_norm_eps": 1e-05,
            "model_type": "clip_vision_model",
            "num_attention_heads": 4,
            "num_channels": 3,
            "num_hidden_layers": 3,
            "patch_size": 8,
            "projection_dim": 96
          }
        }
        """;

    public static ClipConfig Config => ClipConfig.Parse(ConfigJson);

    /// <summary>
    /// Writes the folder, weights in half precision; tensors that are not CLIP's (the heads of the training) are left out.
    /// </summary>
    public static void Write(string folder, IReadOnlyDictionary<string, Tensor> tensors)
    {
        SceneVocabulary.Write(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), ConfigJson + "\n");
        File.WriteAllText(Path.Combine(folder, "preprocessor_config.json"), PreprocessorJson + "\n");
        SafetensorsFile.Write(
            WeightsPath(folder),
            tensors.Where(t => !t.Key.StartsWith(ClipTraining.Heads, StringComparison.Ordinal)).OrderBy(t => t.Key, StringComparer.Ordinal)
                .Select(t => KeyValuePair.Create(t.Key, t.Value.As(ElementType.Float16))),
            new Dictionary<string, string> { ["format"] = "pt" });
    }

    /// <summary>
    /// What a training starts from: the folder's weights, or else a text tower from the text encoder of a pipeline, if it is there.
    /// </summary>
    public static Dictionary<string, Tensor> Known(string folder, string? pipeline)
    {
        if (File.Exists(WeightsPath(folder))) return Read(WeightsPath(folder));
        return pipeline is not null && PipelineFolder.HasPart(pipeline, TextTraining.Part)
            ? Read(Path.Combine(pipeline, TextTraining.Part, "model.safetensors")) : [];
    }

    private static Dictionary<string, Tensor> Read(string path) =>
        SafetensorsFile.Open(path).Tensors.ToDictionary(t => t.Key, t =>
            Tensor.Of(t.Value.ToFloats(), t.Value.Dims), StringComparer.Ordinal);

    private static string WeightsPath(string folder) => Path.Combine(folder, "model.safetensors");
}
