"""Component folders as diffusers and transformers lay them out: config.json beside one safetensors file; and seeded random weights for them."""

import json
import math
import pathlib

import torch
from safetensors.torch import load_file, save_file

FILE_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")


def read_config(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def load_weights(model, folder):
    """Loads a folder's weights. Every parameter must be there; tensors that the model does not have must be named in model.ignored."""
    found = [path for path in (pathlib.Path(folder) / name for name in FILE_NAMES) if path.exists()]
    if not found:
        raise SystemExit(f"{folder}: expected {' or '.join(FILE_NAMES)}, found neither")
    missing, unexpected = model.load_state_dict(load_file(found[0]), strict=False)
    unexpected = [name for name in unexpected if not name.startswith(getattr(model, "ignored", ()))]
    if missing or unexpected:
        raise SystemExit(f"{found[0]}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return model


def save(model, config, folder, file_name=FILE_NAMES[0]):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / file_name, metadata={"format": "pt"})


def randomize(model, seed, norms=True):
    """Normal weights with variance 1/fan_in, so that activations stay near one through any depth; small biases, norm gains around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / math.sqrt(parameter[0].numel()))
            elif norms or "norm" not in name:
                parameter.copy_(1 + 0.15 * noise if "norm" in name and name.endswith("weight") else 0.1 * noise)
    return model
