"""stand_in.py FOLDER: a text-to-image pipeline with random weights in diffusers' layout, small enough to try ddpo_loop.py on: CLIP text
encoder, UNet, AutoencoderTiny decoder, DDIM with v-prediction. It draws nothing; only its shapes and speed are like those of a real model."""

import json
import pathlib
import sys

import folders
import text
import unet
import vae

UNET = dict(
    _class_name="UNet2DConditionModel", in_channels=4, out_channels=4, sample_size=16, block_out_channels=[96, 160], layers_per_block=1,
    down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    cross_attention_dim=96, attention_head_dim=[3, 5], norm_num_groups=16, use_linear_projection=True)
VAE = dict(
    _class_name="AutoencoderTiny", in_channels=3, out_channels=3, latent_channels=4, act_fn="relu", upsample_fn="nearest", scaling_factor=1.0,
    encoder_block_out_channels=[48, 48, 48], decoder_block_out_channels=[48, 48, 48], num_encoder_blocks=[0, 2, 2], num_decoder_blocks=[2, 2, 1],
    upsampling_scaling_factor=2)
SCHEDULER = dict(
    _class_name="DDIMScheduler", num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True, steps_offset=0)
TOKENS = 24
INDEX = dict(
    _class_name="StableDiffusionPipeline", scheduler=["diffusers", "DDIMScheduler"], text_encoder=["transformers", "CLIPTextModel"],
    tokenizer=["transformers", "CLIPTokenizer"], unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderTiny"])


def main(root):
    letters = list(text.byte_letters().values())
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    clip = dict(architectures=["CLIPTextModel"], model_type="clip_text_model", vocab_size=len(vocabulary), hidden_size=96, intermediate_size=384,
                num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=TOKENS, hidden_act="quick_gelu", eos_token_id=len(vocabulary) - 1)
    folders.save(folders.randomize(unet.UNet2DCondition(UNET), seed=1), UNET, root / "unet")
    folders.save(folders.randomize(vae.TinyDecoder(VAE), seed=2), VAE, root / "vae")
    folders.save(folders.randomize(text.ClipText(clip), seed=3), clip, root / "text_encoder", "model.safetensors")
    (root / "tokenizer").mkdir(exist_ok=True)
    (root / "tokenizer/vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (root / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    (root / "tokenizer/tokenizer_config.json").write_text(json.dumps(dict(pad_token="<|endoftext|>", model_max_length=TOKENS)))
    (root / "scheduler").mkdir(exist_ok=True)
    (root / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n")
    (root / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
