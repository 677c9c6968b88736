"""The conditional UNet of Stable Diffusion, written from its description; modules are named so that state dicts and LoRA paths are those of
diffusers' UNet2DConditionModel. It reads that class's config.json and refuses settings it does not implement."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import folders

DEFAULTS = dict(
    in_channels=4, out_channels=4, flip_sin_to_cos=True, freq_shift=0, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
    down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    cross_attention_dim=1280, attention_head_dim=8, num_attention_heads=None, transformer_layers_per_block=1, use_linear_projection=False,
    norm_num_groups=32, norm_eps=1e-5, downsample_padding=1, sample_size=None)
# What every other setting must be: anything else would be a network that this file does not write.
FIXED = dict(
    mid_block_type="UNetMidBlock2DCrossAttn", act_fn="silu", attention_type="default", time_embedding_type="positional",
    resnet_time_scale_shift="default", conv_in_kernel=3, conv_out_kernel=3, mid_block_scale_factor=1, resnet_out_scale_factor=1.0,
    addition_embed_type_num_heads=64, dropout=0.0)


def time_frequencies(timestep, width, flip_sin_to_cos, freq_shift):
    """[B] -> [B, width]: sines and cosines of t * 10000^(-i/(half - freq_shift)), i = 0..half-1; cosines first when flipped."""
    half = width // 2
    exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=timestep.device) / (half - freq_shift)
    angle = timestep[:, None].float() * torch.exp(exponent)[None, :]
    sine, cosine = torch.sin(angle), torch.cos(angle)
    return torch.cat([cosine, sine] if flip_sin_to_cos else [sine, cosine], dim=-1)


class TimestepEmbedding(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class ResnetBlock2D(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + time))), with a 1x1 convolution on x where the channels change."""

    def __init__(self, width, out, time_width, groups, eps):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width, eps)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_width, out)
        self.norm2 = nn.GroupNorm(groups, out, eps)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(width, out, 1) if width != out else None

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    explicit = False  # True writes softmax(q k^T / sqrt(d)) v out, as diffusers did before PyTorch had a fused operator

    def __init__(self, width, context_width, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Identity()])

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = self.split(self.to_q(x)), self.split(self.to_k(context)), self.split(self.to_v(context))
        if self.explicit:
            attended = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1) @ v
        else:
            attended = F.scaled_dot_product_attention(q, k, v)
        return self.to_out[0](attended.transpose(1, 2).reshape(x.shape[0], -1, x.shape[-1]))


class Geglu(nn.Module):
    def __init__(self, width, out):
        super().__init__()
        self.proj = nn.Linear(width, 2 * out)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.ModuleList([Geglu(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x):
        return self.net[2](self.net[0](x))


class BasicTransformerBlock(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, context_width, heads)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer2DModel(nn.Module):
    """Pixels as tokens: norm, projection in, transformer blocks, projection out, residual."""

    def __init__(self, width, context_width, heads, layers, groups, linear):
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, width, 1e-6)
        self.proj_in = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(BasicTransformerBlock(width, context_width, heads) for _ in range(layers))
        self.proj_out = nn.Linear(width, width) if linear else nn.Conv2d(width, width, 1)

    def forward(self, x, context):
        batch, channels, height, width = x.shape
        h = self.norm(x)
        if not self.linear:
            h = self.proj_in(h)
        h = h.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        if self.linear:
            h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h, context)
        if self.linear:
            h = self.proj_out(h)
        h = h.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return x + (h if self.linear else self.proj_out(h))


class Downsample2D(nn.Module):
    def __init__(self, width, padding):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=padding)

    def forward(self, x):
        return self.conv(x if self.padding else F.pad(x, (0, 1, 0, 1)))


class Upsample2D(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """The parts of one level; the UNet's forward says in which order they run."""

    def __init__(self, resnets, attentions, **sampler):
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)
        for name, module in sampler.items():
            setattr(self, name, nn.ModuleList([module]))


class UNet2DCondition(nn.Module):
    """(sample [B,C,H,W], timestep [1] or [B], encoder_hidden_states [B,S,D]) -> [B,C,H,W]."""

    def __init__(self, config):
        super().__init__()
        unknown = [f"{key} = {value!r}" for key, value in config.items()
                   if key not in DEFAULTS and not key.startswith("_") and value not in (None, False, FIXED.get(key))]
        if unknown:
            raise SystemExit(f"this UNet does not implement {', '.join(unknown)}")
        c = dict(DEFAULTS, **{key: value for key, value in config.items() if key in DEFAULTS})
        self.config, self.checkpointing = c, False
        channels, groups = list(c["block_out_channels"]), c["norm_num_groups"]
        levels, time_width = len(channels), 4 * channels[0]

        def per_level(value):
            return list(value) if isinstance(value, (list, tuple)) else [value] * levels
        heads = per_level(c["num_attention_heads"] or c["attention_head_dim"])  # despite its name, the number of heads
        depth, layers = per_level(c["transformer_layers_per_block"]), per_level(c["layers_per_block"])

        def resnet(width, out):
            return ResnetBlock2D(width, out, time_width, groups, c["norm_eps"])

        def attention(level):
            return Transformer2DModel(channels[level], c["cross_attention_dim"], heads[level], depth[level], groups, c["use_linear_projection"])

        self.conv_in = nn.Conv2d(c["in_channels"], channels[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(channels[0], time_width)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        width, skips = channels[0], [channels[0]]
        for level, kind in enumerate(c["down_block_types"]):
            resnets = [resnet(width if i == 0 else channels[level], channels[level]) for i in range(layers[level])]
            last = level == levels - 1
            sampler = {} if last else {"downsamplers": Downsample2D(channels[level], c["downsample_padding"])}
            crossed = [attention(level) for _ in resnets] if kind.startswith("CrossAttn") else []
            self.down_blocks.append(Block(resnets, crossed, **sampler))
            width = channels[level]
            skips += [width] * (len(resnets) + (not last))
        self.mid_block = Block([resnet(width, width), resnet(width, width)], [attention(levels - 1)])
        for kind, level in zip(c["up_block_types"], reversed(range(levels))):
            resnets = []
            for _ in range(layers[level] + 1):
                resnets.append(resnet(width + skips.pop(), channels[level]))
                width = channels[level]
            crossed = [attention(level) for _ in resnets] if kind.startswith("CrossAttn") else []
            self.up_blocks.append(Block(resnets, crossed, **({"upsamplers": Upsample2D(width)} if level else {})))
        self.conv_norm_out = nn.GroupNorm(groups, channels[0], c["norm_eps"])
        self.conv_out = nn.Conv2d(channels[0], c["out_channels"], 3, padding=1)

    @staticmethod
    def load(folder):
        return folders.load_weights(UNet2DCondition(folders.read_config(folder)), folder)

    def run(self, module, *inputs):
        """Runs a part; with checkpointing on, its inner activations are computed again in the backward pass instead of kept."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(module, *inputs, use_reentrant=False)
        return module(*inputs)

    def forward(self, sample, timestep, encoder_hidden_states):
        c = self.config
        timestep = timestep.expand(sample.shape[0])
        time = time_frequencies(timestep, c["block_out_channels"][0], c["flip_sin_to_cos"], c["freq_shift"])
        time = self.time_embedding(time.to(sample.dtype))
        h = self.conv_in(sample)
        skips = [h]
        for block in self.down_blocks:
            for i, resnet in enumerate(block.resnets):
                h = self.run(resnet, h, time)
                if hasattr(block, "attentions"):
                    h = self.run(block.attentions[i], h, encoder_hidden_states)
                skips.append(h)
            if hasattr(block, "downsamplers"):
                h = block.downsamplers[0](h)
                skips.append(h)
        h = self.run(self.mid_block.resnets[0], h, time)
        h = self.run(self.mid_block.attentions[0], h, encoder_hidden_states)
        h = self.run(self.mid_block.resnets[1], h, time)
        for block in self.up_blocks:
            for i, resnet in enumerate(block.resnets):
                h = self.run(resnet, torch.cat([h, skips.pop()], dim=1), time)
                if hasattr(block, "attentions"):
                    h = self.run(block.attentions[i], h, encoder_hidden_states)
            if hasattr(block, "upsamplers"):
                h = block.upsamplers[0](h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))
