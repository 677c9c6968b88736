"""export_onnx.py FOLDER: writes the fixtures of tests/Golden/torch: small UNets of our own as PyTorch's exporter writes them to ONNX, with
inputs, outputs and gradients. FOLDER's README.md describes the files. Everything is seeded: running it again gives
the same numbers (safetensors may write the keys of a header in another order)."""

import copy
import io
import json
import pathlib
import sys
import warnings

import numpy
import onnx
import onnx.numpy_helper
import torch
from safetensors.torch import save_file

import folders
import lora
import unet

RANK, ALPHA = 4, 8
TARGETS = (*lora.ATTENTION, "conv1")
BASE = dict(
    in_channels=4, out_channels=4, sample_size=8, block_out_channels=[8, 12], layers_per_block=1, norm_num_groups=4,
    down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "UpBlock2D"],
    cross_attention_dim=12, attention_head_dim=2)
# Attention in the middle only, for exports whose difference lies in how operators are written.
SMALL = dict(BASE, block_out_channels=[8, 8], down_block_types=["DownBlock2D", "DownBlock2D"])
# As later models are made: linear projections, heads and depth per level; its norms stay untouched, so that initializers are shared.
LINEAR = dict(SMALL, attention_head_dim=[1, 4], transformer_layers_per_block=[1, 2], use_linear_projection=True)
BATCH_ONLY = {name: {0: "batch_size"} for name in ("sample", "encoder_hidden_states", "out_sample")} | {"timestep": {0: "steps"}}
ALL_AXES = {
    "sample": {0: "batch_size", 2: "height", 3: "width"}, "timestep": {0: "steps"},
    "encoder_hidden_states": {0: "batch_size", 1: "sequence_length"}, "out_sample": {0: "batch_size", 2: "height", 3: "width"}}


def inputs(batch, timesteps, height, width, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return {"sample": torch.randn(batch, 4, height, width, generator=generator), "timestep": torch.tensor(timesteps),
            "encoder_hidden_states": torch.randn(batch, tokens, 12, generator=generator)}


def rounded(tensors, dtype):
    """The numbers a model of that precision is given, held in double: the reference is exact for them."""
    return {name: value.to(dtype).double() if value.is_floating_point() else value for name, value in tensors.items()}


def reference(model, dtype, axes, weights, seed):
    """Outputs and gradients computed in double from weights and inputs of the given precision: (golden tensors, LoRA parameters)."""
    given = rounded(inputs(2, [481], 8, 8, 5, seed), dtype)
    height, tokens = (12, 7) if axes is ALL_AXES else (8, 5)
    others = rounded(inputs(3, [1, 500, 999], height, 8, tokens, seed + 1), dtype)
    target = rounded({"target": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed + 2))}, dtype)["target"]
    exact = copy.deepcopy(model).to(dtype).double()
    golden = dict(given, target=target, out_sample=exact(**given), **{f"other.{name}": value for name, value in others.items()})
    golden["other.out_sample"] = exact(**others)
    golden["loss"] = ((golden["out_sample"] - target) ** 2).mean()
    if weights:
        names, values = zip(*exact.named_parameters())
        golden |= {f"grad.{name}": value for name, value in zip(names, torch.autograd.grad(golden["loss"], values, retain_graph=True))}
    adapted = lora.inject(exact, RANK, ALPHA, TARGETS)
    lora.randomize(adapted, seed + 3)
    with torch.no_grad():
        for value in adapted.values():
            value.copy_(value.to(dtype))
    golden["lora.out_sample"] = exact(**given)
    golden["lora.loss"] = ((golden["lora.out_sample"] - target) ** 2).mean()
    gradients = torch.autograd.grad(golden["lora.loss"], list(adapted.values()))
    golden |= {f"lora.grad.{name}": value for name, value in zip(adapted, gradients)}
    return golden, adapted


def single_precision_noise(model, golden, adapted):
    """How far PyTorch's own float32 is from the double reference, output and LoRA gradients, relative to each tensor's largest value."""
    single = copy.deepcopy(model)
    parameters = lora.inject(single, RANK, ALPHA, TARGETS)
    lora.load(parameters, {name: value.float() for name, value in adapted.items()})
    given = {name: golden[name].float() if golden[name].is_floating_point() else golden[name] for name in ("sample", "timestep", "encoder_hidden_states")}
    output = single(**given)
    gradients = torch.autograd.grad(((output - golden["target"].float()) ** 2).mean(), list(parameters.values()))

    def apart(a, b):
        return ((a - b).abs().max() / b.abs().max()).item()
    return apart(output, golden["lora.out_sample"]), max(apart(g, golden[f"lora.grad.{name}"]) for name, g in zip(parameters, gradients))


def export(model, dtype, opset, axes):
    stream = io.BytesIO()
    example = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs(2, [7], 8, 8, 5, 0).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(copy.deepcopy(model).to(dtype).eval(), tuple(example.values()), stream, opset_version=opset, dynamo=False,
                          input_names=list(example), output_names=["out_sample"], dynamic_axes=axes)
    return onnx.load_model_from_string(stream.getvalue())


def initializer_map(onnx_model, model, dtype):
    """Which parameter each initializer is: {initializer: {parameter, transposed}}, those with another name only. The exporter keeps the
    name where it copies a parameter and invents one where it transposes or reshapes it; there the values tell."""
    values = {name: value.detach().to(dtype).numpy() for name, value in model.named_parameters()}
    by_bytes = {}
    for name, value in values.items():
        by_bytes.setdefault(value.tobytes(), (name, False))
        if value.ndim == 2:
            by_bytes.setdefault(numpy.ascontiguousarray(value.T).tobytes(), (name, True))
    found = {}
    constants = [(n.output[0], a.t) for n in onnx_model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    for name, tensor in [*((t.name, t) for t in onnx_model.graph.initializer), *constants]:
        parameter, transposed = (name, False) if name in values else by_bytes.get(onnx.numpy_helper.to_array(tensor).tobytes(), (None, False))
        if parameter:
            found[name] = {"parameter": parameter, "transposed": transposed}
    missing = set(values) - {entry["parameter"] for entry in found.values()}
    if missing:
        raise SystemExit(f"the exported model lacks parameters {sorted(missing)[:3]}")
    return {name: entry for name, entry in found.items() if name != entry["parameter"]}


def write_golden(folder, golden, adapted, dtype):
    lora.save({name: value.to(dtype) for name, value in adapted.items()}, RANK, ALPHA, TARGETS, folder / "lora.safetensors")
    single = {name: value.detach().float().contiguous() if value.is_floating_point() else value for name, value in golden.items()}
    save_file(single, folder / "golden.safetensors", metadata={"format": "pt"})


def main(root):
    base = folders.randomize(unet.UNet2DCondition(BASE), seed=501)
    small = folders.randomize(unet.UNet2DCondition(SMALL), seed=502)
    linear = folders.randomize(unet.UNet2DCondition(LINEAR), seed=503, norms=False)
    single, half = torch.float32, torch.float16
    # folder, model, config, precision, opset, dynamic axes, explicit attention, seed of its golden file or none, all-weights gradients
    fixtures = [
        ("unet-opset17", base, BASE, single, 17, ALL_AXES, False, 601, True),
        ("unet-small-opset14", small, SMALL, single, 14, BATCH_ONLY, True, 701, False),
        ("unet-small-opset20", small, SMALL, single, 20, BATCH_ONLY, False, None, False),
        ("unet-small-fp16-opset17", small, SMALL, half, 17, ALL_AXES, False, 801, False),
        ("unet-linear-opset17", linear, LINEAR, single, 17, ALL_AXES, False, 901, False),
    ]
    for name, model, config, dtype, opset, axes, explicit, seed, weights in fixtures:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        unet.Attention.explicit = explicit
        exported = export(model, dtype, opset, axes)
        onnx.save(exported, folder / "model.onnx")
        (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"} | config, indent=1) + "\n")
        operators = sorted({node.op_type for node in exported.graph.node})
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, {len(exported.graph.node)} nodes: {' '.join(operators)}")
        if weights:
            rows = (f" {json.dumps(key)}: {json.dumps(entry)}" for key, entry in initializer_map(exported, model, dtype).items())
            (folder / "parameters.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
        if seed:
            unet.Attention.explicit = False
            golden, adapted = reference(model, dtype, axes, weights, seed)
            write_golden(folder, golden, adapted, dtype)
            if dtype == single:
                print("  float32 noise of output and LoRA gradients: {:.1e} {:.1e}".format(*single_precision_noise(model, golden, adapted)))
            print(f"  output std {golden['out_sample'].std():.2f}, losses {golden['loss']:.3f} {golden['lora.loss']:.3f}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
