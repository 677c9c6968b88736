"""The decoder of diffusers' AutoencoderTiny, from its description: convolutions and ReLU blocks, nearest upsampling, no normalisation."""

import torch
import torch.nn.functional as F
from torch import nn

import folders

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class TinyBlock(nn.Module):
    """relu(x + conv(act(conv(act(conv(x))))))."""

    def __init__(self, width, activation):
        super().__init__()
        def conv():
            return nn.Conv2d(width, width, 3, padding=1)
        self.conv = nn.Sequential(conv(), activation(), conv(), activation(), conv())

    def forward(self, x):
        return F.relu(self.conv(x) + x)


class TinyDecoder(nn.Module):
    """latents [B,C,H,W], in the denoiser's units -> images [B,3,sH,sW] in [-1,1] before clamping."""

    ignored = ("encoder.",)

    def __init__(self, config):
        super().__init__()
        if config.get("_class_name", "AutoencoderTiny") != "AutoencoderTiny":
            raise SystemExit(f"the peer decodes with AutoencoderTiny only, got {config['_class_name']}")
        if config.get("latents_mean") or config.get("latents_std"):
            raise SystemExit("the peer does not normalise latents per channel: fold latents_mean and latents_std into the decoder's first layer")
        widths = config.get("decoder_block_out_channels", [64] * 4)
        blocks, factor = config.get("num_decoder_blocks", [3, 3, 3, 1]), config.get("upsampling_scaling_factor", 2)
        activation = ACTIVATIONS[config.get("act_fn", "relu")]
        layers = [nn.Conv2d(config.get("latent_channels", 4), widths[0], 3, padding=1), activation()]
        for i, (width, count) in enumerate(zip(widths, blocks)):
            layers += [TinyBlock(width, activation) for _ in range(count)]
            if i < len(blocks) - 1:
                layers += [nn.Upsample(scale_factor=factor, mode=config.get("upsample_fn", "nearest")), nn.Conv2d(width, width, 3, padding=1, bias=False)]
            else:
                layers.append(nn.Conv2d(width, config.get("out_channels", 3), 3, padding=1))
        self.decoder = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        self.scaling, self.shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0

    @staticmethod
    def load(folder):
        return folders.load_weights(TinyDecoder(folders.read_config(folder)), folder)

    def forward(self, latents):
        z = latents / self.scaling + self.shift
        return self.decoder["layers"](torch.tanh(z / 3) * 3) * 2 - 1
