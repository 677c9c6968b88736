"""LoRA adapters as PEFT applies them: a wrapper y = base(x) + (alpha/r) B(A(x)) around chosen linear and convolution layers."""

import json

import torch
from safetensors.torch import save_file
from torch import nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


class LoraLayer(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base_layer, self.scaling = base, alpha / rank
        if isinstance(base, nn.Conv2d):
            down = nn.Conv2d(base.in_channels, rank, base.kernel_size, base.stride, base.padding, bias=False)
            up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        else:
            down, up = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(up.weight)
        self.lora_A, self.lora_B = nn.ModuleDict({"default": down}), nn.ModuleDict({"default": up})

    def forward(self, x):
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x)) * self.scaling


def inject(model, rank, alpha, targets=ATTENTION):
    """Freezes the model, wraps every layer whose path ends in a target, and gives the LoRA parameters by their name in an adapter file,
    unet.PATH.lora_A.weight and unet.PATH.lora_B.weight, sorted by name."""
    model.requires_grad_(False)
    parameters = {}
    for path, layer in list(model.named_modules()):
        if not any(path == target or path.endswith("." + target) for target in targets):
            continue
        parent, _, child = path.rpartition(".")
        wrapper = LoraLayer(layer, rank, alpha).to(next(layer.parameters()).dtype)
        setattr(model.get_submodule(parent), child, wrapper)
        parameters[f"unet.{path}.lora_A.weight"] = wrapper.lora_A["default"].weight
        parameters[f"unet.{path}.lora_B.weight"] = wrapper.lora_B["default"].weight
    if not parameters:
        raise SystemExit(f"no layer's path ends in {', '.join(targets)}")
    return dict(sorted(parameters.items()))


def randomize(parameters, seed):
    """A as PEFT would start it in size; B away from zero, so that every gradient is."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in parameters.items():
            scale = value[0].numel() ** -0.5 if ".lora_A." in name else 0.2
            value.copy_(torch.randn(value.shape, generator=generator) * scale)


def load(parameters, tensors):
    if set(parameters) != set(tensors):
        raise SystemExit(f"the adapter's layers differ from the model's: {sorted(set(parameters) ^ set(tensors))[:3]}")
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(tensors[name])


def save(parameters, rank, alpha, targets, file):
    """Writes the adapter file with rank and alpha in its metadata, where diffusers looks for them."""
    adapter = {"unet.peft_type": "LORA", "unet.r": rank, "unet.lora_alpha": alpha, "unet.target_modules": list(targets)}
    save_file({name: value.detach().contiguous() for name, value in parameters.items()}, file,
              metadata={"format": "pt", "lora_adapter_metadata": json.dumps(adapter)})
