"""CLIP's text side, from its description: the byte-pair tokenizer and the causal transformer, under the names of transformers' CLIPTextModel."""

import json
import pathlib
import re

import torch
import torch.nn.functional as F
from torch import nn

import folders

ACTIVATIONS = {"quick_gelu": lambda x: x * torch.sigmoid(1.702 * x), "gelu": F.gelu}


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (p(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
    def __init__(self, width, inner, activation):
        super().__init__()
        self.fc1, self.fc2, self.activation = nn.Linear(width, inner), nn.Linear(inner, width), ACTIVATIONS[activation]

    def forward(self, x):
        return self.fc2(self.activation(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, eps = c["hidden_size"], c.get("layer_norm_eps", 1e-5)
        self.self_attn = SelfAttention(width, c["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(width, eps)
        self.mlp = Mlp(width, c["intermediate_size"], c.get("hidden_act", "quick_gelu"))
        self.layer_norm2 = nn.LayerNorm(width, eps)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class ClipText(nn.Module):
    """ids [B,S] -> (last hidden state [B,S,D], pooled [B,D])."""

    ignored = ("text_model.embeddings.position_ids", "text_projection")

    def __init__(self, config):
        super().__init__()
        self.end = config.get("eos_token_id", 2)
        width = config["hidden_size"]
        embeddings = nn.ModuleDict({"token_embedding": nn.Embedding(config["vocab_size"], width),
                                    "position_embedding": nn.Embedding(config.get("max_position_embeddings", 77), width)})
        encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))})
        norm = nn.LayerNorm(width, config.get("layer_norm_eps", 1e-5))
        self.text_model = nn.ModuleDict({"embeddings": embeddings, "encoder": encoder, "final_layer_norm": norm})

    @staticmethod
    def load(folder):
        return folders.load_weights(ClipText(folders.read_config(folder)), folder)

    def forward(self, ids):
        embeddings = self.text_model["embeddings"]
        x = embeddings["token_embedding"](ids) + embeddings["position_embedding"](torch.arange(ids.shape[1]))
        for layer in self.text_model["encoder"]["layers"]:
            x = layer(x)
        x = self.text_model["final_layer_norm"](x)
        # Old configs say 2 whatever the vocabulary; the end token was then the one with the highest id.
        last = ids.argmax(-1) if self.end == 2 else (ids == self.end).int().argmax(-1)
        return x, x[torch.arange(len(ids)), last]


def byte_letters():
    """A printable letter for each byte: itself where it prints, else the next code point from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return {byte: chr(byte if byte in printable else next(spare)) for byte in range(256)}


class Tokenizer:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.ids = json.loads((folder / "vocab.json").read_text())
        merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines() if line and not line.startswith("#version")]
        self.rank = {pair: i for i, pair in enumerate(merges)}
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        pad = settings.get("pad_token", "<|endoftext|>")
        self.pad, self.length = self.ids[pad["content"] if isinstance(pad, dict) else pad], settings["model_max_length"]
        self.start, self.end = self.ids["<|startoftext|>"], self.ids["<|endoftext|>"]
        self.letters = byte_letters()
        self.pieces = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")

    def merge(self, word):
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            merged, i = [], 0
            while i < len(parts):
                joined = tuple(parts[i:i + 2]) == best
                merged.append("".join(parts[i:i + 2]) if joined else parts[i])
                i += 2 if joined else 1
            parts = merged
        return parts

    def encode(self, text):
        ids = [self.start]
        for piece in self.pieces.findall(text.lower()):
            special = piece in ("<|startoftext|>", "<|endoftext|>")
            parts = [piece] if special else self.merge("".join(self.letters[byte] for byte in piece.encode()))
            ids += [self.ids[part] for part in parts]
        return ids[:self.length - 1] + [self.end]

    def pad_batch(self, texts):
        rows = [self.encode(text) for text in texts]
        return torch.tensor([row + [self.pad] * (self.length - len(row)) for row in rows])
