"""d3po.py GOLDEN OUT: D3PO's loss on the two transitions of the reference's DDPO losses as a pair, the first preferred, differentiated by autograd in double precision.
Writes OUT/SET.safetensors: loss, margin, log_prob, reference_log_prob, grad.NAME of each LoRA tensor; beta and clip_range. The reference policy is the model without adapters.
Prints how far that is from the gradients that follow from the reference's own: -A beta sigmoid(-margin) (g_w - g_l), each g from the two DDPO losses."""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import ddim
import lora
import unet

BETA, CLIP, GUIDANCE, ADVANTAGE = 1.0, 0.99, 5.0, 0.7


def compute(folder):
    golden = {name: value.double() if value.is_floating_point() else value for name, value in load_file(folder / "lora_golden.safetensors").items()}
    model = unet.UNet2DCondition.load(folder / "unet").double()
    parameters = lora.inject(model, 4, 8)
    lora.load(parameters, load_file(folder / "lora.safetensors"))
    rows = {row.timestep: row for row in ddim.table(json.loads((folder / "scheduler/scheduler_config.json").read_text()), 8, 1.0)}
    steps = [rows[t] for t in golden["ddpo.timestep"].tolist()]
    c_x, c_m, sigma = (torch.tensor([getattr(step, name) for step in steps], dtype=torch.float64) for name in ("cX", "cM", "sigma"))

    def log_prob():
        x, t = golden["ddpo.x_t"], golden["ddpo.timestep"]
        uncond, cond = (model(x, t, golden[f"ddpo.encoder_hidden_states_{kind}"]) for kind in ("uncond", "cond"))
        mean = c_x[:, None, None, None] * x + c_m[:, None, None, None] * (uncond + GUIDANCE * (cond - uncond))
        return ddim.log_prob(golden["ddpo.x_prev"], mean, sigma)

    now = log_prob()
    scales = {layer: layer.scaling for layer in model.modules() if isinstance(layer, lora.LoraLayer)}
    for layer in scales:
        layer.scaling = 0.0
    with torch.no_grad():
        reference = log_prob()
    for layer, scale in scales.items():
        layer.scaling = scale
    away = torch.clamp(torch.exp(now - reference), 1 - CLIP, 1 + CLIP).log()
    margin = BETA * (away[:1] - away[1:])
    loss = -(ADVANTAGE * F.logsigmoid(margin)).mean()
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values()))))

    a, r = golden["ddpo.advantage"], torch.exp(golden["ddpo.log_prob"] - golden["ddpo.old_log_prob"])
    factor = -ADVANTAGE * BETA * torch.sigmoid(-margin)
    worst = 0.0
    for name, got in gradients.items():
        one, both = (golden[f"ddpo.{clip}.grad.{name}"] for clip in ("clip1e-4", "clip0.2"))
        expected = factor * (-2 * one / (a[0] * r[0]) + 2 * (both - one) / (a[1] * r[1]))
        worst = max(worst, ((got - expected).abs().max() / expected.abs().max()).item())
    print(f"{folder.name}: loss {loss.item():.6f}, margin {margin.item():.6f}, log-probs off by {(now - golden['ddpo.log_prob']).abs().max().item():.1e}, "
          f"gradients off from the combination by {worst:.1e} (worst tensor)")
    numbers = {"loss": loss[None], "margin": margin, "log_prob": now, "reference_log_prob": reference, "beta": torch.tensor([BETA]), "clip_range": torch.tensor([CLIP])}
    return {name: value.detach().float().contiguous() for name, value in (numbers | {f"grad.{name}": value for name, value in gradients.items()}).items()}


out = pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
for name in sys.argv[3:] or ("sd1-tiny",):
    save_file(compute(pathlib.Path(sys.argv[1]) / name), out / f"{name}.safetensors", metadata={"format": "pt"})
