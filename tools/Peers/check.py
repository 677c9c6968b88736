"""check.py GOLDEN: runs the peer's own modules against reference data that the public libraries computed (folders sd1-tiny, sd2-tiny) and
prints the largest deviation of each. Exit code 1 when one is out of bounds."""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import ddim
import lora
import text
import unet

failed = False


def report(name, got, expected, bound):
    """Deviation relative to the largest expected value, the worst tensor of a group."""
    global failed
    pairs = zip(got, expected) if isinstance(got, (list, tuple)) else [(got, expected)]
    worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)
    failed |= not worst <= bound
    print(f"{'ok  ' if worst <= bound else 'FAIL'} {name}: {worst:.1e} (bound {bound:.0e})")


def check_unet(folder):
    golden, model = load_file(folder / "golden.safetensors"), unet.UNet2DCondition.load(folder / "unet")
    sample, states = golden["unet.sample"], golden["unet.encoder_hidden_states"]
    with torch.no_grad():
        for i, t in enumerate(golden["unet.timesteps"]):
            report(f"{folder.name} unet, timestep {t}", model(sample, t[None], states), golden[f"unet.output.{i}"], 1e-4)
        report(f"{folder.name} unet, mixed timesteps", model(sample, golden["unet.mixed.timestep"], states), golden["unet.mixed.output"], 1e-4)


def check_sampler(folder):
    golden, config = load_file(folder / "golden.safetensors"), json.loads((folder / "scheduler/scheduler_config.json").read_text())
    rows = ddim.table(config, 8, 1.0)
    assert [row.timestep for row in rows] == golden["ddim_eta1.timesteps"].tolist()
    report(f"{folder.name} ddim sigma", torch.tensor([row.sigma for row in rows]), golden["ddim_eta1.sigma"].float(), 1e-5)
    x, outputs = golden["ddim_eta1.latents"], golden.get("ddim_eta1.guided_output")
    if outputs is not None:
        means = [row.cX * x[i] + row.cM * outputs[i] for i, row in enumerate(rows)]
        report(f"{folder.name} ddim mean", means, list(golden["ddim_eta1.mu"]), 1e-5)
    values = [ddim.log_prob(x[i + 1], golden["ddim_eta1.mu"][i], row.sigma) for i, row in enumerate(rows)]
    report(f"{folder.name} log-prob", values, list(golden["ddim_eta1.log_prob"]), 1e-4)
    for name, changes in json.loads((folder / "golden.json").read_text()).get("scheduler_variants", {}).items():
        changed = dict(config, **changes)
        assert ddim.timesteps(changed, 5) == golden[f"variant.{name}.timesteps"].tolist(), name
        bars = torch.tensor(ddim.alpha_bars(changed))
        report(f"{folder.name} alpha bars, {name}", bars, golden[f"variant.{name}.alphas_cumprod"].float(), 1e-5)


def check_lora(folder):
    golden, model = load_file(folder / "lora_golden.safetensors"), unet.UNet2DCondition.load(folder / "unet")
    parameters = lora.inject(model, 4, 8)
    lora.load(parameters, load_file(folder / "lora.safetensors"))
    output = model(golden["forward.sample"], golden["forward.timestep"], golden["forward.encoder_hidden_states"])
    report(f"{folder.name} LoRA output", output, golden["forward.output_lora"], 1e-4)

    def gradients(name, loss, bound):
        got = torch.autograd.grad(loss, list(parameters.values()))
        report(f"{folder.name} {name} LoRA gradients", got, [golden[f"{name}.grad.{key}"] for key in parameters], bound)
    gradients("mse", ((output - golden["mse.target"]) ** 2).mean(), 1e-4)

    x, t = golden["ddpo.x_t"], golden["ddpo.timestep"]
    uncond, cond = (model(x, t, golden[f"ddpo.encoder_hidden_states_{kind}"]) for kind in ("uncond", "cond"))
    prediction = json.loads((folder / "scheduler/scheduler_config.json").read_text())["prediction_type"]
    at, ap, sigma = (golden[f"ddpo.{name}"].float()[:, None, None, None] for name in ("alpha_bar_t", "alpha_bar_prev", "sigma"))
    guided = uncond + 5.0 * (cond - uncond)
    if prediction == "epsilon":
        x0, noise = (x - (1 - at).sqrt() * guided) / at.sqrt(), guided
    else:
        x0, noise = at.sqrt() * x - (1 - at).sqrt() * guided, at.sqrt() * guided + (1 - at).sqrt() * x
    mean = ap.sqrt() * x0 + (1 - ap - sigma ** 2).sqrt() * noise
    ratio = torch.exp(ddim.log_prob(golden["ddpo.x_prev"], mean, sigma.flatten()) - golden["ddpo.old_log_prob"])
    advantage = golden["ddpo.advantage"].clamp(-5, 5)
    gradients("ddpo.clip0.2", torch.max(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean(), 1e-4)


def check_text(folder):
    golden, model = load_file(folder / "golden.safetensors"), text.ClipText.load(folder / "text_encoder")
    with torch.no_grad():
        states, pooled = model(golden["text.input_ids"])
    report(f"{folder.name} text states", states, golden["text.last_hidden_state"], 1e-4)
    report(f"{folder.name} text pooled", pooled, golden["text.pooler_output"], 1e-4)
    cases = json.loads((folder / "golden.json").read_text())["tokenizer_cases"]["cases"]
    tokenizer, wrong = text.Tokenizer(folder / "tokenizer"), []
    for case in cases:
        if tokenizer.encode(case["text"]) != case["ids"]:
            wrong.append(case["text"])
    global failed
    failed |= bool(wrong)
    print(f"{'FAIL' if wrong else 'ok  '} {folder.name} tokenizer: {len(cases) - len(wrong)} of {len(cases)}", *wrong)


torch.manual_seed(0)
golden_root = pathlib.Path(sys.argv[1])
for name in ("sd1-tiny", "sd2-tiny"):
    check_unet(golden_root / name)
    check_sampler(golden_root / name)
    check_lora(golden_root / name)
check_text(golden_root / "sd1-tiny")
sys.exit(failed)
