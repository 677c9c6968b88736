using OrtRlhf.Learning.Schedulers;
using OrtRlhf.Models;
using OrtRlhf.Scenes;

namespace OrtRlhf.Pretrain;

/// <summary>The architecture of <c>models/shapes</c>.</summary>
internal static class ShapesModel
{
    public const int LatentChannels = 4;
    public const int LatentSide = 16;

    public const string AutoencoderJson = """
        {
          "_class_name": "AutoencoderTiny",
          "act_fn": "relu",
          "decoder_block_out_channels": [32, 32, 32],
          "encoder_block_out_channels": [32, 32, 32],
          "force_upcast": false,
          "in_channels": 3,
          "latent_channels": 4,
          "num_decoder_blocks": [3, 3, 1],
          "num_encoder_blocks": [0, 2, 2],
          "out_channels": 3,
          "scaling_factor": 1.0,
          "shift_factor": 0.0,
          "upsampling_scaling_factor": 2
        }
        """;

    public const string UnetJson = """
        {
          "_class_name": "UNet2DConditionModel",
          "act_fn": "silu",
          "attention_head_dim": [2, 2, 4],
          "block_out_channels": [32, 64, 128],
          "cross_attention_dim": 96,
          "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
          "flip_sin_to_cos": true,
          "freq_shift": 0,
          "in_channels": 4,
          "layers_per_block": 1,
          "mid_block_type": "UNetMidBlock2DCrossAttn",
          "norm_eps": 1e-05,
          "norm_num_groups": 16,
          "out_channels": 4,
          "sample_size": 16,
          "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
          "use_linear_projection": true
        }
        """;

    public const string SchedulerJson = """
        {
          "_class_name": "DDIMScheduler",
          "beta_schedule": "squaredcos_cap_v2",
          "clip_sample": false,
          "num_train_timesteps": 1000,
          "prediction_type": "v_prediction",
          "rescale_betas_zero_snr": false,
          "set_alpha_to_one": true,
          "steps_offset": 0,
          "timestep_spacing": "trailing"
        }
        """;

    public const string ModelIndexJson = """
        {
          "_class_name": "StableDiffusionPipeline",
          "feature_extractor": [null, null],
          "requires_safety_checker": false,
          "safety_checker": [null, null],
          "scheduler": ["diffusers", "DDIMScheduler"],
          "text_encoder": ["transformers", "CLIPTextModel"],
          "tokenizer": ["transformers", "CLIPTokenizer"],
          "unet": ["diffusers", "UNet2DConditionModel"],
          "vae": ["diffusers", "AutoencoderTiny"]
        }
        """;

    /// <summary>Sizes of the text encoder, which is the text tower of <see cref="ShapesClip"/> too.</summary>
    public static string TextFields { get; } = $$"""
          "bos_token_id": {{SceneVocabulary.Tokens.Count - 2}},
          "eos_token_id": {{SceneVocabulary.Tokens.Count - 1}},
          "hidden_act": "quick_gelu",
          "hidden_size": 96,
          "intermediate_size": 384,
          "layer_norm_eps": 1e-05,
          "max_position_embeddings": {{SceneVocabulary.MaxLength}},
          "model_type": "clip_text_model",
          "num_attention_heads": 4,
          "num_hidden_layers": 3,
          "pad_token_id": {{SceneVocabulary.Tokens.Count - 1}},
          "projection_dim": 96,
          "vocab_size": {{SceneVocabulary.Tokens.Count}}
        """;

    public static string TextEncoderJson { get; } = $$"""
        {
          "architectures": ["CLIPTextModel"],
        {{TextFields}}
        }
        """;

    public static AutoencoderTinyConfig Autoencoder => AutoencoderTinyConfig.Parse(AutoencoderJson);

    public static UNet2DConditionConfig Unet => UNet2DConditionConfig.Parse(UnetJson);

    public static ClipTextConfig TextEncoder => ClipTextConfig.Parse(TextEncoderJson);

    public static SchedulerConfig Scheduler => SchedulerConfigJson.Parse(SchedulerJson);

    /// <summary>Writes what is not trained.</summary>
    public static void WriteFrame(string folder) => PipelineFolder.WriteFrame(folder, ModelIndexJson, SchedulerJson, "tokenizer");
}
